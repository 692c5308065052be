"""Fixtures of the end-to-end tests. They run inside the lab, as root: tests/e2e/run."""

import itertools
import os
import pathlib
import random
import shutil
import tempfile

import pytest

import support
from support import Container, Repository, docker, run, staging_directories, wait_until

numbers = itertools.count(1)
seed = int(os.environ.get("CPREWIND_E2E_SEED") or random.SystemRandom().randrange(10**6))


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"delays were random: CPREWIND_E2E_SEED={seed} repeats them")


def pytest_sessionstart():
    # They change daemon.json and remove containers: a machine of somebody's is no place for them.
    if b"lab/init" not in pathlib.Path("/proc/1/cmdline").read_bytes():
        pytest.exit("these tests run inside the lab only: tests/e2e/run", returncode=2)


@pytest.fixture(scope="session", autouse=True)
def ready_engine():
    """The runtime registered, once, and cprewind content with this host."""
    for ident in docker("ps", "--all", "--quiet", "--filter", "name=^e2e").split():
        docker("rm", "--force", ident)
    run([support.CPREWIND, "setup", "--yes"])
    report = run([support.CPREWIND, "doctor", "--json"]).json
    assert report["ready"] is True and report["checks"]
    yield
    wait_until(lambda: not staging_directories(), "no staging directory is left at the end")


@pytest.fixture
def chance():
    return random.Random(seed)


@pytest.fixture
def repo():
    """A repository of its own on a disk (not on the lab's overlay, which refuses whiteouts)."""
    parent = pathlib.Path(tempfile.mkdtemp(prefix="cprewind-e2e-", dir="/var/tmp"))
    yield Repository(parent / "repository")
    shutil.rmtree(parent)


@pytest.fixture
def directory():
    path = pathlib.Path(tempfile.mkdtemp(prefix="cprewind-e2e-", dir="/var/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def container():
    """A factory of running containers, under cprewind's runtime unless told otherwise."""
    made = []

    def make(command, *options, image="work", runtime="cprewind", name=None):
        name = name or f"e2e{next(numbers)}"
        words = ["--runtime", runtime] if runtime else []
        ident = docker("run", "--detach", "--name", name, *words, *options, image, *command)
        made.append(ident)
        return Container(name, ident)

    yield make
    for ident in made:
        docker("rm", "--force", "--volumes", ident, status=None)
