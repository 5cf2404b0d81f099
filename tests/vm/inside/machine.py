"""What checks do with the machine: users, sessions, commands."""

import json
import os
import pwd
import subprocess
import time


def say(line):
    print(line, flush=True)


def run(*words, ok=True, timeout=120, env=None, stdin=""):
    """A command as root; its output."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, env=env, input=stdin)
    if ok and done.returncode != 0:
        raise AssertionError(f"{' '.join(words)} gave {done.returncode}: {done.stdout} {done.stderr}")
    return done


class User:
    """Somebody on this machine."""

    def __init__(self, name):
        self.name = name
        self.uid = pwd.getpwnam(name).pw_uid
        self.home = f"/home/{name}"
        self.run_dir = f"/run/user/{self.uid}"
        self.env = {
            "HOME": self.home,
            "USER": name,
            "PATH": f"{self.home}/.local/bin:/srv/inside:/usr/bin:/bin",
            "XDG_RUNTIME_DIR": self.run_dir,
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.run_dir}/bus",
            "DOCKER_HOST": f"unix://{self.run_dir}/pierless/docker.sock",
        }

    def __call__(self, command, ok=True, timeout=120):
        """A shell command as this user, in no session of theirs; its output, or if it may fail what became of it."""
        return self._done(command, ["setpriv", f"--reuid={self.name}", f"--regid={self.name}", "--init-groups", "sh", "-c",
                                    f"cd; {command}"], ok, timeout)

    def by_ssh(self, command, ok=True, timeout=120):
        """The same in a login session, which ends with it."""
        words = ["ssh", f"{self.name}@localhost", f"PATH=$HOME/.local/bin:/srv/inside:$PATH; {command}"]
        return self._done(command, words, ok, timeout)

    def _done(self, command, words, ok, timeout):
        done = run(*words, ok=False, timeout=timeout, env=self.env)
        if ok and done.returncode != 0:
            raise AssertionError(f"`{command}` gave {done.returncode}: {done.stdout.strip()} {done.stderr.strip()}")
        return done.stdout.strip() if ok else done

    def docker(self, command, ok=True, timeout=120):
        """The docker client, on this user's socket."""
        return self(f"docker {command}", ok, timeout)

    def inspect(self, container):
        return json.loads(self.docker(f"inspect {container}"))[0]


def until(what, condition, seconds=60):
    """Waits until a condition holds; what it gives."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.1)


def cgroup_of(pid):
    """The cgroup of a process in the unified hierarchy."""
    with open(f"/proc/{pid}/cgroup") as lines:
        return next(line[3:].strip() for line in lines if line.startswith("0::"))


def processes(uid=None):
    """Process ids and command names, of one user."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if uid is None or os.stat(f"/proc/{entry}").st_uid == uid:
                with open(f"/proc/{entry}/comm") as comm:
                    found.append((int(entry), comm.read().strip()))
        except OSError:
            pass
    return found
