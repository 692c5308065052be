"""`suspend` and `resume`: containers over a restart of dockerd."""

import pathlib
import re

import pytest

import support
from programs import COUNTER, WRITER, written
from support import docker, engine_version, run, wait_until


def dockerd():
    return pathlib.Path("/run/docker.pid").read_text().strip()


def restart_dockerd(signal):
    """As after a crash (KILL) or a reboot (TERM: dockerd stops what still runs); the lab starts it again."""
    old = dockerd()
    run(["kill", f"-{signal}", old])
    wait_until(lambda: run(["docker", "version"], status=None).status == 0 and dockerd() != old, "dockerd is back", 60)


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_labelled_containers_go_on_where_they_stood_after_dockerd_was_restarted(repo, container, signal):
    keep = ["--label", "keep=yes"]
    writer = container(WRITER, *keep, "--restart", "unless-stopped")
    counter = container(COUNTER, *keep, "--publish", "7431:80", image="busybox")
    other = container(COUNTER, "--label", "keep=no", image="busybox")
    wait_until(lambda: len(written(writer).splitlines()) >= 20, "20 lines")
    counter.wait_for_tick(5)
    other.wait_for_tick(1)
    document = repo("suspend", "--all", "--label", "keep=yes", "--json").json
    assert {(c["name"], c["fate"]) for c in document["containers"]} == {(writer.name, "done"), (counter.name, "done")}
    assert (writer.state, counter.state, other.state) == ("exited", "exited", "running")
    stood = counter.last_tick()
    restart_dockerd(signal)
    assert counter.state == "exited"
    document = repo("resume", "--all", "--json").json
    assert [c["fate"] for c in document["containers"]] == ["done", "done"]
    assert (writer.state, counter.state) == ("running", "running")
    counter.wait_for_tick(stood + 5)
    assert all(b >= a - 1 for a, b in counter.jumps()), f"it did not begin anew: {counter.jumps()}"
    lines = len(written(writer).splitlines())
    wait_until(lambda: len(written(writer).splitlines()) > lines, "memory and file go on together")
    assert docker("port", counter.name, "80").splitlines()[0].endswith(":7431")
    assert repo("resume", "--all").out == "nothing to do\n"
    repo.assert_clean()


def test_one_that_docker_has_started_again_goes_back_with_a_safety_snapshot(repo, container):
    counter = container(COUNTER, "--restart", "always", image="busybox")
    counter.wait_for_tick(50)  # further than the new beginning gets
    repo("suspend", counter)
    restart_dockerd("TERM")
    wait_until(lambda: counter.state == "running", "the restart policy starts it", 30)
    wait_until(lambda: counter.ticks().count(0) == 2, "from scratch")
    repo("resume", counter)
    wait_until(lambda: counter.jumps() and counter.jumps()[-1][1] >= 50, "and it is back where it stood")
    assert [s["kind"] for s in repo("log", "--json").json["snapshots"]] == ["manual", "safety"]


def test_what_could_not_be_brought_back_is_left_running(repo, container):
    fine = container(COUNTER, "--label", "set=1", image="busybox")
    plain = container(COUNTER, "--label", "set=1", image="busybox", runtime="runc")
    gone = container(COUNTER, "--label", "set=1", "--rm", image="busybox")
    for one in (fine, plain, gone):
        one.wait_for_tick(1)
    result = repo("suspend", "--all", "--label", "set=1", "--json", status=3)
    fates = {c["name"]: (c["fate"], c["reason"]) for c in result.json["containers"]}
    assert fates[fine.name] == ("done", None)
    assert fates[gone.name][0] == "skipped" and gone.state == "running"
    if engine_version() < 28:
        # The engine's own restore works.
        assert fates[plain.name] == ("done", None) and plain.state == "exited"
        repo("resume", plain)
    else:
        assert fates[plain.name][0] == "skipped" and "runc" in fates[plain.name][1]
        assert repo("suspend", plain, status=1).err
    assert (plain.state, fine.state) == ("running", "exited")
    repo("resume", fine)
    assert fine.state == "running"


def test_words_that_say_nothing_are_refused(repo):
    for words in (["suspend"], ["suspend", "--all", "x"], ["suspend", "x", "--label", "a"], ["resume"]):
        assert "which containers" in repo(*words, status=2).err
    assert "no repository" in repo("resume", "nobody", status=1).err


def test_resume_before_there_is_a_repository_has_nothing_to_do(directory):
    result = run([support.CPREWIND, "resume", "--all", "--repo", directory / "none"])
    assert result.out == "nothing to do\n" and not (directory / "none").exists()


def test_the_unit_file_orders_itself_after_docker():
    unit = next(iter(pathlib.Path(support.CPREWIND).parent.parent.glob("packaging/*.service")), None)
    assert unit, "cmake makes it"
    text = unit.read_text()
    for line in ("After=docker.service", "Requires=docker.service"):
        assert re.search(f"^{line}", text, re.M)
    assert re.search(r"^ExecStart=-?/\S+/cprewind resume --all$", text, re.M)
    assert re.search(r"^ExecStop=/\S+/cprewind suspend --all", text, re.M)
