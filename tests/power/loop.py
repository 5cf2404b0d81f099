#!/usr/bin/env python3
"""Loses the power after every write, and looks whether all that was acknowledged is there.

    sudo tests/power/loop.py [--every N] [--keep] [--user NAME] PIERLESS

Runs the verbs of WORKLOAD by the API on a disk that logs its writes (see disk.py). Then, for every write since the
first acknowledgement (or each N-th, and each flush), makes the disk that a loss of power would have left there, and
holds it against what clients had been told: names, states, exit codes, images. Everything listed must be inspectable
and removable, every image that is listed must run, and a new load must make good whatever is torn.

By root, for it mounts; pierless itself runs as an ordinary user. `tests/prepare.sh` installs what it needs. Where it
cannot be run, it fails and says why.
"""

import argparse
import collections
import hashlib
import http.client
import io
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time

from disk import FLUSH, Disk, Replay, sh

USER = None
MIB = 192
PAYLOAD = "power-loop-payload"


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("docker", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Engine:
    """An API process over a data directory, with a run directory that is empty as after a boot."""

    def __init__(self, program, folder, data):
        self.run = tempfile.mkdtemp(dir=folder, prefix="r")
        self.data = data
        os.chown(self.run, USER.pw_uid, USER.pw_gid)
        self.socket = f"{self.run}/s"
        self.env = {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "HOME": self.run, "XDG_RUNTIME_DIR": self.run,
                    "PIERLESS_DATA": data, "RUST_BACKTRACE": "1"}
        self.log = open(f"{folder}/serve.log", "ab")
        self.serve = subprocess.Popen([program, "serve", "--socket", self.socket, "--idle-timeout", "0"], env=self.env,
                                      user=USER.pw_uid, group=USER.pw_gid, extra_groups=[], cwd="/", stderr=self.log)
        while not self.answers():
            if self.serve.poll() is not None:
                raise AssertionError(f"serve has ended with {self.serve.returncode}")
            time.sleep(0.005)

    def answers(self):
        try:
            return self.call("GET", "/_ping")[0] == 200
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def call(self, method, path, body=None, raw=False):
        connection = Connection(self.socket)
        headers = {} if body is None else {"Content-Type": "application/x-tar" if raw else "application/json"}
        data = body if raw or body is None else json.dumps(body)
        try:
            connection.request(method, path, data, headers)
            reply = connection.getresponse()
            text = reply.read()
        finally:
            connection.close()
        is_json = (reply.getheader("Content-Type") or "").startswith("application/json")
        try:
            return reply.status, json.loads(text) if is_json and text else text
        except ValueError:
            return reply.status, text

    def must(self, method, path, body=None, raw=False, status=(200, 201, 204)):
        got, answer = self.call(method, path, body, raw)
        assert got in status, f"{method} {path}: {got} {answer}"
        return answer

    def end(self):
        """Ends the API and everything that it started, as a loss of power does."""
        self.serve.kill()
        self.serve.wait()
        # A container's environment is its own: it is known by its command line.
        kill("environ", f"XDG_RUNTIME_DIR={self.run}")
        kill("cmdline", PAYLOAD)
        self.log.close()


def kill(file, text):
    """Kills every process with this text in that file of /proc."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/{file}", "rb") as opened:
                if text.encode() in opened.read() and int(pid) != os.getpid():
                    os.kill(int(pid), signal.SIGKILL)
        except (OSError, ProcessLookupError):
            continue


def image(tag):
    """`docker save` of busybox under a tag, as one archive."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for name in ("bin", "etc", "tmp", tag.replace(":", "-")):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add(shutil.which("busybox"), "bin/busybox")
        for name in ("sh", "sleep", "true", "cat"):
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    diff = hashlib.sha256(layer.getvalue()).hexdigest()
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
                         "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]},
                         "history": [{"created": "2026-01-01T00:00:00Z"}]}).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]).encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, data in (("config.json", config), ("layer.tar", layer.getvalue()), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return archive.getvalue()


# What a client has been told: containers by a label of ours -> (name, allowed states), and tags.
World = collections.namedtuple("World", "containers tags")


def create(engine, label, name, script):
    body = {"Image": "busybox", "Cmd": ["sh", "-c", f": {PAYLOAD}; {script}"], "Labels": {"label": label}}
    engine.must("POST", f"/containers/create?name={name}", body)


STEPS = [
    ("load", lambda e: e.must("POST", "/images/load", image("busybox:latest"), raw=True), {"tag+": "busybox:latest"}),
    ("tag", lambda e: e.must("POST", "/images/busybox/tag?repo=second&tag=1"), {"tag+": "second:1"}),
    ("create", lambda e: create(e, "a", "one", "exit 3"), {"a": ("one", "created")}),
    ("create", lambda e: create(e, "b", "two", "true"), {"b": ("two", "created")}),
    ("rename", lambda e: e.must("POST", "/containers/two/rename?name=zwei"), {"b": ("zwei", "created")}),
    ("start", lambda e: e.must("POST", "/containers/one/start"), {"a": ("one", "ended")}),
    ("wait", lambda e: e.must("POST", "/containers/one/wait"), {"a": ("one", "exited 3")}),
    ("create", lambda e: create(e, "c", "three", "sleep 1000; true"), {"c": ("three", "created")}),
    ("start", lambda e: e.must("POST", "/containers/three/start"), {"c": ("three", "ended")}),
    ("stop", lambda e: e.must("POST", "/containers/three/stop?t=0"), {"c": ("three", "exited 137")}),
    ("rm", lambda e: e.must("DELETE", "/containers/zwei"), {"b": None}),
    ("load", lambda e: e.must("POST", "/images/load", image("other:1"), raw=True), {"tag+": "other:1"}),
    ("untag", lambda e: e.must("DELETE", "/images/second:1"), {"tag-": "second:1"}),
    ("create", lambda e: create(e, "d", "two", "sleep 1000; true"), {"d": ("two", "created")}),
    ("start", lambda e: e.must("POST", "/containers/two/start"), {"d": ("two", "ended")}),
    ("rm -f", lambda e: e.must("DELETE", "/containers/one?force=1"), {"a": None}),
    ("rmi", lambda e: e.must("DELETE", "/images/other:1"), {"tag-": "other:1"}),
    ("start", lambda e: e.must("POST", "/containers/three/start"), {"c": ("three", "ended")}),
    ("rm -f", lambda e: e.must("DELETE", "/containers/two?force=1"), {"d": None}),
]


def worlds():
    """What is true after each step, the empty one first."""
    containers, tags = {}, set()
    yield World({}, frozenset())
    for _, _, change in STEPS:
        for key, value in change.items():
            if key == "tag+":
                tags.add(value)
            elif key == "tag-":
                tags.discard(value)
            elif value is None:
                containers.pop(key)
            else:
                containers[key] = value
        yield World(dict(containers), frozenset(tags))


def state_fits(state, wanted):
    if wanted == "created":
        return state["Status"] == "created"
    if wanted == "ended":
        return state["Status"] == "exited"
    return (state["Status"], state["ExitCode"]) == ("exited", int(wanted.split()[1]))


def check(engine, before, after):
    """What is on the disk is the world before the step that the power ended, or the one after it, item by item."""
    listed = settled(engine)
    found = {}
    for entry in listed:
        inspected = engine.must("GET", f"/containers/{entry['Id']}/json")
        found[entry["Labels"].get("label")] = (inspected["Name"].lstrip("/"), inspected["State"])
    for label in sorted(set(before.containers) | set(after.containers)):
        options = [world.containers.get(label) for world in (before, after)]
        there = found.pop(label, None)
        if there is None:
            assert None in options, f"container {label} is gone, not {options}"
            continue
        # A start that was under way may have run the program to its end.
        racing = options[0] != options[1]
        fits = any(o and o[0] == there[0] and (state_fits(there[1], o[1]) or racing and there[1]["Status"] == "exited")
                   for o in options)
        assert fits, f"container {label} is {there}, not {options}"
    tags = {tag for entry in engine.must("GET", "/images/json") for tag in entry["RepoTags"] or []}
    assert before.tags & after.tags <= tags <= before.tags | after.tags, f"tags {tags}, not {before.tags} or {after.tags}"
    return tags


def settled(engine):
    """The list, once nothing in it is said to run: the API ends at its start what ran, beside its first answers."""
    for _ in range(1000):
        listed = engine.must("GET", "/containers/json?all=1")
        if all(entry["State"] != "running" for entry in listed):
            return listed
        time.sleep(0.01)
    raise AssertionError("a container runs after a loss of power")


def check_use(engine, tags):
    """Everything can be used, made good, and removed; then nothing is left."""
    for tag in sorted(tags):
        run(engine, tag)
    for tag in ("busybox:latest", "other:1"):
        engine.must("POST", "/images/load", image(tag), raw=True)
        run(engine, tag)
    for entry in engine.must("GET", "/containers/json?all=1"):
        engine.must("DELETE", f"/containers/{entry['Id']}?force=1")
    assert engine.must("GET", "/containers/json?all=1") == []
    for name in ("one", "two", "zwei", "three"):
        engine.must("POST", f"/containers/create?name={name}", {"Image": "busybox"})
        engine.must("DELETE", f"/containers/{name}")
    for entry in engine.must("GET", "/images/json"):
        engine.must("DELETE", f"/images/{entry['Id']}?force=1")
    assert engine.must("GET", "/images/json") == []
    left = [path for kind in ("layers", "blobs/sha256") for path in os.listdir(f"{engine.data}/images/{kind}")
            if not path.startswith(".")] if os.path.isdir(f"{engine.data}/images") else []
    assert not left, f"left in the image store: {left}"
    left = [path for path in os.listdir(f"{engine.data}/containers") if len(path) == 64]
    assert not left, f"left in the container store: {left}"


def run(engine, tag):
    answer = engine.must("POST", "/containers/create", {"Image": tag, "Cmd": ["sh", "-c", "cat /bin/cat > /dev/null && exit 7"]})
    engine.must("POST", f"/containers/{answer['Id']}/start")
    code = engine.must("POST", f"/containers/{answer['Id']}/wait")["StatusCode"]
    assert code == 7, f"{tag} runs with {code}"
    engine.must("DELETE", f"/containers/{answer['Id']}")


def record(program, folder):
    """Runs the workload; the marks in the log count its acknowledged steps."""
    disk = Disk(folder, MIB)
    engine = None
    try:
        data = f"{disk.mnt}/data"
        os.mkdir(data, 0o700)
        os.chown(data, USER.pw_uid, USER.pw_gid)
        sh("sync", "-f", disk.mnt)
        disk.mark()
        engine = Engine(program, folder, data)
        for name, step, _ in STEPS:
            step(engine)
            disk.mark()
    finally:
        if engine:
            engine.end()
        disk.close()


def replay(program, folder, every):
    """Every state of the disk, against what was acknowledged by then: the failures, and how many were looked at."""
    size = MIB << 20
    replayed = Replay(f"{folder}/log", f"{folder}/replayed", size, size - (1 << 20))
    known = list(worlds())
    cuts = failures = since = 0
    mnt = f"{folder}/cut"
    os.mkdir(mnt)
    while (entry := replayed.step()) is not None:
        flags, wrote = entry
        if not replayed.acknowledged or not (wrote or flags & FLUSH):
            continue
        since += 1
        if since < every:
            continue
        since = 0
        cuts += 1
        steps = replayed.acknowledged - 1
        before, after = known[steps], known[min(steps + 1, len(STEPS))]
        # A file of its own each time: as long as any namespace has the last one mounted, mount(8) would find its device,
        # with what that remembers.
        image = f"{folder}/image{cuts}"
        replayed.copy(image)
        sh("mount", "-o", "loop", image, mnt)
        os.unlink(image)
        engine = None
        try:
            engine = Engine(program, folder, f"{mnt}/data")
            check_use(engine, check(engine, before, after))
        except (AssertionError, OSError, http.client.HTTPException) as error:
            failures += 1
            doing = STEPS[steps][0] if steps < len(STEPS) else "nothing"
            print(f"write {replayed.done}, {steps} acknowledged, in `{doing}`: {error}", flush=True)
        finally:
            if engine:
                engine.end()
            for _ in range(100):
                if subprocess.run(["umount", mnt], capture_output=True).returncode == 0:
                    break
                time.sleep(0.05)
            else:
                sh("umount", "--lazy", mnt)
    return cuts, failures


def requirements(user):
    """Ends the program with a text unless the machine can do it."""
    lacking = [f"the program {name}" for name in ("qemu-storage-daemon", "losetup", "mkfs.ext4", "busybox")
               if not shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")]
    lacking += [name for name in ("/dev/fuse", "/dev/loop-control") if not os.path.exists(name)]
    if os.geteuid() != 0:
        lacking.append("root's rights")
    elif not lacking and (found := subprocess.run(["losetup", "--find"], capture_output=True, text=True)).returncode:
        lacking.append(f"a free loop device ({found.stderr.strip()})")
    if user not in (entry.pw_name for entry in pwd.getpwall()):
        lacking.append(f"the user {user}")
    if lacking:
        sys.exit("NOT TESTED: losses of power need " + ", ".join(lacking))


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("program", help="the executable under test")
    options.add_argument("--every", type=int, default=1, help="look after each N-th write only")
    options.add_argument("--keep", action="store_true", help="keep the folder with the log")
    options.add_argument("--user", default="pierless-test", help="whom pierless runs as; with subordinate ids")
    options = options.parse_args()
    requirements(options.user)
    global USER
    USER = pwd.getpwnam(options.user)
    folder = tempfile.mkdtemp(prefix="pw", dir="/var/tmp")
    os.chmod(folder, 0o755)
    try:
        program = f"{folder}/pierless"
        shutil.copy(options.program, program)
        os.chmod(program, 0o755)
        record(program, folder)
        cuts, failures = replay(program, folder, options.every)
    finally:
        if options.keep:
            print(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{cuts} losses of power, {failures} failures")
    sys.exit(1 if failures or not cuts else 0)


if __name__ == "__main__":
    main()
