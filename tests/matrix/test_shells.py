"""Shells."""

import pytest

from cell import Attached
from programs import COUNTER
from support import docker, wait_until


def one_step_back(counter, least, most):
    wait_until(counter.jumps, "it counts on from the snapshot")
    counter.wait_for_tick(counter.last_tick() + 3)
    jumps = counter.jumps()
    assert len(jumps) == 1 and least <= jumps[0][1] <= most < jumps[0][0], jumps


@pytest.mark.parametrize("how", ["", " with `-t`", " with `-it`"])
def test_counter(cell, how):
    """the counter of Docker's manual{how}"""
    counter = cell.run(COUNTER, "--security-opt=seccomp:unconfined", *how.replace("`", "").split()[1:], image="busybox")
    counter.wait_for_tick(5)
    least = counter.last_tick()
    cell.snap(counter)
    most = counter.last_tick() + 1
    counter.wait_for_tick(most + 3)
    cell.rewind(counter, expect=["tree/"])  # the sleep, the expr of the moment
    one_step_back(counter, least, most)


@pytest.mark.parametrize("how", ["-i", "-it"])
def test_shell(cell, how):
    """a shell with `{how}`: its variables, its directory, and what is typed afterwards"""
    shell = cell.run(["sh"], how, image="busybox")

    def says(line, text):
        with Attached(shell) as attached:
            attached.type(line)
            wait_until(lambda: text in shell.log_lines(), f"{line} prints {text}")

    says("colour=blue; cd /tmp; echo one >file; echo is-$colour", "is-blue")
    cell.snap(shell)
    says("colour=red; cd /; rm /tmp/file; echo is-$colour", "is-red")
    cell.rewind(shell)
    says("echo back-$colour-$(pwd)-$(cat file)", "back-blue-/tmp-one")
    assert ("pts" in shell.exec("readlink", "/proc/1/fd/0")) == (how == "-it")


def test_shell_that_nobody_can_type_to(cell):
    """a shell with `-t`, waiting at its prompt"""
    shell = cell.run(["sh"], "-t", image="busybox")
    wait_until(lambda: "shell" in docker("logs", shell.id), "the greeting")
    cell.snap(shell)
    shell.exec("touch", "/tmp/later")
    cell.rewind(shell)
    shell.exec("ls", "/tmp/later", status=1)
