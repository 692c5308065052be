"""Options of `docker run`."""

import os
import signal

import pytest

from cell import ask
from support import docker, wait_until

PLAIN = [
    ("--memory", "64m"), ("--memory", "64m --memory-swap 128m"), ("--pids-limit", "40"), ("--cpus", "0.5"),
    ("--cpuset-cpus", "0"), ("--ulimit", "nofile=333:444"), ("--ulimit", "core=0 --ulimit stack=4000000"),
    ("--cap-drop", "ALL"), ("--cap-drop", "NET_RAW --cap-add SYS_TIME"), ("--privileged", ""),
    ("--security-opt", "seccomp=unconfined"), ("--security-opt", "no-new-privileges"), ("--oom-score-adj", "500"),
    ("--hostname", "oracle"), ("--uts", "host"), ("--ipc", "shareable"), ("--ipc", "private"), ("--ipc", "host"), ("--pid", "host"),
    ("--cgroupns", "host"), ("--cgroupns", "private"), ("--sysctl", "net.ipv4.ip_unprivileged_port_start=0"),
    ("--device", "/dev/fuse"), ("--group-add", "20"), ("--workdir", "/var/tmp"), ("--env", "COLOUR=blue"),
    ("--add-host", "oracle:10.1.2.3"), ("--dns", "10.1.2.3"), ("--log-driver", "local"),
]
FAST = {"--ulimit nofile=333:444", "--cap-drop ALL", "--pids-limit 40", "--hostname oracle"}


ROWS = [pytest.param(title, marks=[pytest.mark.fast] if title in FAST else [], id=title.replace(" ", "_"))
        for title in (f"{name} {value}".strip() for name, value in PLAIN)]


@pytest.mark.parametrize("option", ROWS)
def test_plain(cell, option):
    """`{option}`"""
    cell.there_and_back(cell.witness(*option.split()))


@pytest.mark.fast
def test_init(cell):
    """`--init`"""
    made = cell.witness("--init")
    cell.there_and_back(made)
    assert ask(made)["pid"] != 1


def test_default_confinement(cell):
    """the default seccomp profile: still in force"""
    made = cell.witness()
    cell.there_and_back(made)
    status = open(f"/proc/{made.pid}/status").read()
    assert "Seccomp:\t2" in status
    assert "not permitted" in docker("exec", made.id, "sh", "-c", "unshare --mount true 2>&1", status=1)


@pytest.mark.fast
def test_health(cell):
    """a health check"""
    made = cell.witness("--health-cmd", "test -e /healthy", "--health-interval", "300ms", "--health-retries", "1")

    def health():
        return made.inspect("{{.State.Health.Status}}")

    made.exec("touch", "/healthy")
    wait_until(lambda: health() == "healthy", "healthy")
    cell.snap(made)
    made.exec("rm", "/healthy")
    wait_until(lambda: health() == "unhealthy", "unhealthy")
    cell.rewind(made)
    wait_until(lambda: health() == "healthy", "healthy again")


@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure:3"])
def test_restart_policy(cell, policy):
    """`--restart {policy}`: not in the way of the rewind, and at work afterwards"""
    made = cell.witness("--restart", policy)
    cell.there_and_back(made)
    assert made.inspect("{{.RestartCount}}") == "0"
    pid = made.pid
    # As if it crashed; nobody inside may send that to init.
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: made.state == "running" and made.pid not in (0, pid), "Docker starts it again", 20)
    wait_until(lambda: made.log_lines().count("ready") == 2, "from scratch")
    assert ask(made)["words"] == []


@pytest.mark.fast
def test_renamed(cell):
    """a container renamed since"""
    made = cell.witness()
    blue = ask(made, "blue")
    cell.snap(made)
    ask(made, "red")
    docker("rename", made.id, "matrix-new-name")
    tag = f"of-{made.name}"
    made.name = "matrix-new-name"
    if cell.by.name == "cprewind":
        cell.by.repo.rewind(made, tag)
    else:
        cell.by.rewind(made)
    assert ask(made) == blue and docker("ps", "--format", "{{.Names}}", "--filter", f"id={made.id}") == "matrix-new-name"


@pytest.mark.parametrize("what", ["retagged", "untagged"])
def test_image(cell, what):
    """a container whose image was {what} since"""
    docker("tag", "work", "matrix-image")
    made = cell.witness(image="matrix-image")
    blue = ask(made, "blue")
    cell.snap(made)
    ask(made, "red")
    try:
        if what == "retagged":
            docker("tag", "busybox", "matrix-image")
        else:
            docker("rmi", "matrix-image")
        cell.by.rewind(made)
        assert ask(made) == blue
    finally:
        docker("rmi", "--force", "matrix-image", status=None)


def test_paused(cell):
    """a container that is paused at the snap, and at the rewind"""
    made = cell.witness()
    blue = ask(made, "blue")
    docker("pause", made.id)
    if cell.by.name != "cprewind":
        pytest.skip("of no interest here")
    cell.by.snap(made)
    assert made.state == "paused"
    docker("unpause", made.id)
    ask(made, "red")
    docker("pause", made.id)
    cell.by.rewind(made)
    assert made.state == "paused"
    docker("unpause", made.id)
    assert ask(made) == blue


def test_stopped(cell):
    """a container that was stopped since, or ended by itself"""
    made = cell.witness()
    blue = ask(made, "blue")
    cell.snap(made)
    docker("stop", "--time", "0", made.id)
    cell.by.rewind(made) if cell.by.name == "cprewind" else docker("start", "--checkpoint", "moment", made.id)
    assert ask(made) == blue


def test_dies_properly(cell):
    """what comes after: logs, exec, stop, exit status, a fresh start"""
    made = cell.run(["sh", "-c", "trap 'echo bye; exit 7' TERM; n=0; while :; do echo $n; n=$((n+1)); sleep 0.1; done"])
    made.wait_for_tick(3)
    cell.snap(made)
    made.wait_for_tick(made.last_tick() + 5)
    cell.rewind(made, expect=["tree/"])
    wait_until(made.jumps, "its log goes on")
    assert made.exec("echo", "here") == "here\n"
    docker("stop", "--time", "5", made.id)
    assert made.log_lines()[-1] == "bye" and made.inspect("{{.State.ExitCode}}") == "7"
    docker("start", made.id)
    wait_until(lambda: made.log_lines()[-1].isdigit() and int(made.log_lines()[-1]) >= 1, "a fresh start")
