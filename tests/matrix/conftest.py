"""The matrix as tests: each is a row (its docstring), the lab is the column, and what came of it goes into a file."""

import inspect as python
import json
import os
import pathlib
import re
import sys

import pytest

TESTS = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "e2e")]
pytest_plugins = ["e2e.conftest"]

from cell import Cannot, Cell, Cprewind, Docker  # noqa: E402
from support import docker, run  # noqa: E402

outcomes = []


def pytest_addoption(parser):
    parser.addoption("--lab", default="forky", help="the column")
    parser.addoption("--by", default="cprewind", choices=["cprewind", "docker"], help="who takes containers back")
    parser.addoption("--result", help="where to write what came of it (JSON)")


@pytest.fixture
def cell(request):
    if request.config.getoption("by") == "docker":
        made = Cell(Docker(None), request.config.getoption("lab"))
    else:
        made = Cell(Cprewind(request.getfixturevalue("repo")), request.config.getoption("lab"))
    request.node.cell = made
    yield made
    made.clean()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if call.when != "call" or not hasattr(item, "cell"):
        return
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    row = {"group": item.module.__doc__.strip().splitlines()[0].rstrip("."),
           "row": python.cleandoc(item.function.__doc__).splitlines()[0].format(**parameters),
           "line": [item.path.name, item.function.__code__.co_firstlineno],
           "notes": item.cell.notes, "cannot": None, "failure": None}
    if call.excinfo is None:
        row["outcome"] = "works"
    elif call.excinfo.errisinstance(Cannot):
        # A proven "cannot" is what the test is to show.
        row |= {"outcome": "cannot", "cannot": item.cell.answer}
        report.outcome = "passed"
    elif call.excinfo.errisinstance(pytest.skip.Exception):
        row |= {"outcome": "not here", "failure": str(call.excinfo.value)}
    else:
        row |= {"outcome": "fails", "failure": str(call.excinfo.value)[:2000]}
        if item.config.getoption("by") == "docker":
            report.outcome = "passed"
    outcomes.append(row)


def versions():
    def word(command, pattern):
        return re.search(pattern, run(command).out)[1]

    v1 = not pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists()
    return {"docker": docker("version", "--format", "{{.Server.Version}}"), "runc": word(["runc", "--version"], r"(\d\S+)"),
            "criu": word(["criu", "--version"], r"(\d\S+)"), "cgroup": "v1" if v1 else "v2",
            "storage": docker("info", "--format", "{{.Driver}}"), "kernel": os.uname().release}


def pytest_sessionfinish(session):
    path = session.config.getoption("result")
    if not path or not outcomes:
        return
    root = {"lab": session.config.getoption("lab"), "by": session.config.getoption("by"),
            "versions": versions(), "cells": outcomes}
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(path).write_text(json.dumps(root, indent=1, ensure_ascii=False) + "\n")
