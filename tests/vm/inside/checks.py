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


def of(boot):
    return [function for function in CHECKS if function.boot == boot]


def last():
    return max(function.boot for function in CHECKS)


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
        user("mkdir -p r/bin && cp /bin/busybox r/bin/ && for a in sh sleep true cat id dd wget ip ping; do ln -sf busybox r/bin/$a; done"
             " && tar -C r -cf i.tar . && docker import i.tar img")
    assert ann.docker("run --rm img id -u") == "0"


@check(1)
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
