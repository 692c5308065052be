"""`setup` changes one thing in daemon.json and can take it back."""

import json
import pathlib

import pytest

import support
from support import docker, run

CONFIG = pathlib.Path("/etc/docker/daemon.json")


@pytest.fixture
def config():
    """daemon.json and the engine as they were, also after a failure."""
    text = CONFIG.read_text()
    yield CONFIG
    CONFIG.write_text(text)
    run([support.CPREWIND, "setup", "--undo", "--yes"], status=None)
    CONFIG.write_text(text)
    run(["kill", "-HUP", pathlib.Path("/run/docker.pid").read_text().strip()])
    run([support.CPREWIND, "setup", "--yes"])
    support.wait_until(lambda: "cprewind" in runtimes(), "dockerd knows the runtime again")


def runtimes():
    return json.loads(docker("info", "--format", "{{json .Runtimes}}"))


def setup(*words, status=0):
    return run([support.CPREWIND, "setup", "--yes", *words], status=status)


def test_setup_keeps_what_else_stands_there_is_idempotent_and_can_be_undone(config):
    setup("--undo")
    assert "cprewind" not in runtimes()
    others = json.loads(config.read_text()) | {"labels": ["zoo=1"], "runtimes": {"other": {"path": "/usr/sbin/runc"}},
                                               "debug": True, "shutdown-timeout": 17}
    config.write_text(json.dumps(others, indent=7))
    setup()
    assert "cprewind" in runtimes()
    after = json.loads(config.read_text())
    path = after["runtimes"].pop("cprewind")["path"]
    assert path.endswith("/cprewind-runtime") and after == others
    once = config.read_text()
    again = run([support.CPREWIND, "setup", "--json"]).json
    assert again == {"changed": False, "steps": []} and config.read_text() == once
    setup("--default-runtime")
    assert docker("info", "--format", "{{.DefaultRuntime}}") == "cprewind"
    assert json.loads(config.read_text())["default-runtime"] == "cprewind"
    setup("--undo")
    assert json.loads(config.read_text()) == others
    assert "cprewind" not in runtimes()
    assert docker("info", "--format", "{{.DefaultRuntime}}") == "runc"
    assert run([support.CPREWIND, "setup", "--undo", "--json"]).json["changed"] is False


def test_setup_without_yes_and_without_a_terminal_changes_nothing(config):
    setup("--undo")
    before = config.read_text()
    result = run([support.CPREWIND, "setup"], status=2)
    assert "--yes" in result.err
    assert config.read_text() == before


def test_a_configuration_that_dockerd_refuses_is_not_written(config):
    setup("--undo")
    config.write_text('{"no-such-option": 1}')
    result = setup(status=1)
    assert "no-such-option" in result.err and "nothing was changed" in result.err
    assert config.read_text() == '{"no-such-option": 1}'
