"""The checks, by the boot that they run in."""

import pathlib
import subprocess

from machine import User, cgroup_of, run, say, until

CHECKS = []


def check(boot, always=False):
    """A check of the boot with this number; one that later ones build on is always run."""
    def register(function):
        function.boot, function.always = boot, always
        CHECKS.append(function)
        return function
    return register


def off(boot):
    """How this boot ends: the power goes, but for the second."""
    if boot == 2:
        subprocess.run(["systemctl", "poweroff"])
    else:
        say("cut")


ann, ben = User("ann"), User("ben")


@check(1, always=True)
def pierless_up_holds_the_socket():
    # The other one has no linger: somebody who is logged in.
    run("loginctl", "enable-linger", "ben")
    for user in (ann, ben):
        until("user manager", lambda: run("systemctl", "is-active", f"user@{user.uid}.service", ok=False).returncode == 0)
        user("install -D /srv/inside/pierless ~/.local/bin/pierless && pierless up")
        assert user("systemctl --user is-active pierless.socket") == "active"
        assert user("systemctl --user is-enabled pierless.socket") == "enabled"


@check(1, always=True)
def an_image_for_all():
    for user in (ann, ben):
        user("mkdir -p r/bin && cp /bin/busybox r/bin/ && for a in sh sleep true cat id dd wget ip ping ps; do ln -sf busybox r/bin/$a; done"
             " && tar -C r -cf i.tar . && docker import i.tar img")
    assert ann.docker("run --rm img id -u") == "0"


@check(1, always=True)
def two_users_do_not_see_each_other():
    ann.docker("run -d --name hers img sleep 1000")
    assert "hers" not in ben.docker("ps -a --format '{{.Names}}'")
    refused = ben(f"DOCKER_HOST=unix://{ann.run_dir}/pierless/docker.sock docker ps", ok=False)
    assert refused.returncode != 0 and "permission denied" in refused.stderr, refused.stderr


@check(1)
def the_api_ends_when_idle_and_comes_back():
    until("idle", lambda: ann("systemctl --user is-active pierless.service", ok=False).returncode != 0)
    assert ann.docker("ps --format '{{.Names}}'") == "hers"


@check(1)
def containers_outlive_stop_and_restart_of_the_service():
    pid = ann.inspect("hers")["State"]["Pid"]
    ann("systemctl --user stop pierless.service && systemctl --user daemon-reload && systemctl --user restart pierless.service")
    assert ann.inspect("hers")["State"]["Pid"] == pid


def below_the_scope(user, container, verb="docker"):
    """The group of a container's program, which is its own below the user's scope."""
    state = user.inspect(container)["State"]
    group = cgroup_of(state["Pid"])
    full = user.inspect(container)["Id"]
    scope = f"/user.slice/user-{user.uid}.slice/user@{user.uid}.service/app.slice/pierless.scope"
    assert group == f"{scope}/{full}/payload", group
    monitor = pathlib.Path(f"/sys/fs/cgroup{scope}/{full}/monitor/cgroup.procs").read_text().split()
    assert len(monitor) == 1, monitor
    return pathlib.Path(f"/sys/fs/cgroup{group}")


@check(1)
def everything_is_below_one_scope():
    below_the_scope(ann, "hers")
    # By the command line in a login session, of which nothing stays.
    ann.by_ssh("pierless run -d --name mine img sleep 1000")
    below_the_scope(ann, "mine")
    # Newer managers have a session of their own, which is no login.
    sessions = lambda: [line for line in run("loginctl", "list-sessions", "--no-legend").stdout.splitlines()
                        if " ann " in line and "manager" not in line]
    until("no session stays", lambda: not sessions())
    assert ann.inspect("mine")["State"]["Running"]
    out = ann.docker("exec hers cat /proc/self/cgroup")
    assert out == "0::/", out
    text = ann("systemctl --user status pierless.scope")
    assert "payload" in text and "sleep 1000" in text, text


@check(1)
def an_end_leaves_no_group():
    full = ann.inspect("mine")["Id"]
    scope = below_the_scope(ann, "mine").parents[1]
    # A process that is not below the container's first one, killed with it.
    ann.docker("exec -d mine sleep 2000")
    ann.docker("rm -f mine")
    until("no group of the removed one", lambda: not (scope / full).exists(), 10)
    assert "2000" not in run("ps", "-eo", "args").stdout
    ann.docker("run --rm img true")
    groups = lambda: sorted(group.name[:12] for group in scope.iterdir() if group.is_dir())
    running = ann.docker("ps -q").split()
    until(f"groups of {running} alone: {groups()}", lambda: groups() == sorted(["holder", *running]), 10)


@check(1)
def limits_are_set():
    ann.docker("run -d --name limited --memory 64m --memory-reservation 32m --pids-limit 20 --cpus 0.5 --cpu-shares 512"
               " img sleep 1000")
    group = below_the_scope(ann, "limited")
    read = lambda name: (group / name).read_text().strip()
    assert read("memory.max") == str(64 << 20) and read("memory.low") == str(32 << 20)
    assert read("memory.swap.max") == str(64 << 20)
    assert read("pids.max") == "20" and read("cpu.max") == "50000 100000" and read("cpu.weight") == "59", read("cpu.weight")
    assert ann.docker("exec limited cat /sys/fs/cgroup/pids.max") == "20"
    refused = ann.docker("run --rm --pids-limit 4 img sh -c 'for i in 1 2 3 4 5 6; do sleep 5 & done; wait'", ok=False)
    assert "fork" in refused.stderr or "Resource temporarily" in refused.stderr, refused.stderr
    ann.docker("rm -f limited")
    info = ann.docker("info --format '{{.CgroupDriver}} {{.CgroupVersion}} {{.MemoryLimit}} {{.PidsLimit}}'")
    assert info == "systemd 2 true true", info


@check(1)
def who_takes_too_much_memory_is_ended_and_told():
    ann.docker("run -d --name modest --memory 64m img sleep 1000")
    took = ann.docker("run --name greedy --memory 64m --memory-swap 64m img dd if=/dev/zero of=/dev/null bs=100M count=1", ok=False)
    assert took.returncode == 137, took
    assert ann.inspect("greedy")["State"]["OOMKilled"] is True
    assert ann.inspect("modest")["State"]["Running"] and not ann.inspect("modest")["State"]["OOMKilled"]
    told = ann.docker("events --since 5m --until 0s --filter container=greedy --format '{{.Action}}'").split()
    assert told.index("oom") < told.index("die"), told
    ann.docker("rm -f greedy modest")


@check(1)
def a_killed_monitor_leaves_nothing():
    ann.docker("run -d --name lost img sh -c 'sleep 3000 & sleep 3001'")
    group = below_the_scope(ann, "lost")
    monitor = (group.parent / "monitor/cgroup.procs").read_text().strip()
    run("kill", "-9", monitor)
    until("seen", lambda: ann.inspect("lost")["State"]["Status"] == "exited", 10)
    assert "3000" not in run("ps", "-eo", "args").stdout and not group.exists()
    ann.docker("rm lost")


@check(1)
def a_killed_holder_has_a_successor_in_the_same_scope():
    group = below_the_scope(ann, "hers")
    holder = (group.parents[1] / "holder/cgroup.procs").read_text().split()
    for pid in holder:
        run("kill", "-9", pid, ok=False)
    ann.by_ssh("pierless run -d --name next img sleep 1000")
    below_the_scope(ann, "next")
    below_the_scope(ann, "hers")
    assert (group.parents[1] / "holder/cgroup.procs").read_text().split(), "nobody holds"
    ann.docker("rm -f next")


@check(1)
def without_a_bus_the_group_of_the_first_is_the_place():
    until("ben's holder has ended", lambda: "holder" not in ben("ps -u ben -o args", ok=False).stdout, 60)
    unit = f"[Service]\\nType=oneshot\\nDelegate=yes\\nKillMode=process\\nExecStart={ben.home}/.local/bin/pierless run -d --name own img sleep 1000\\n"
    ben(f"mkdir -p ~/.config/systemd/user && printf '{unit}' > ~/.config/systemd/user/first.service")
    ben("systemctl --user daemon-reload && systemctl --user stop dbus.socket dbus.service")
    ben("systemctl --user start first")
    group = cgroup_of(ben.inspect("own")["State"]["Pid"])
    assert "/first.service/pierless-" in group and group.endswith("/payload"), group
    assert ben.docker("info --format '{{.CgroupDriver}}'") == "cgroupfs"
    ben.docker("rm -f own")


@check(2)
def after_a_loss_of_power_all_is_there():
    state = ann.inspect("hers")["State"]
    assert state["Status"] == "exited" and not state["Running"], state
    ann.docker("start hers")
    assert ann.inspect("hers")["State"]["Running"]


@check(3)
def after_a_shutdown_all_is_there():
    assert ann.inspect("hers")["State"]["Status"] == "exited"
    assert ann.docker("rm hers") == "hers"
