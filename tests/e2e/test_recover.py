"""What is left when cprewind dies together with its guards: the journal, and what the next command makes of it."""

import os
import pathlib
import shutil
import signal
import time

import pytest

from programs import HEAP, WRITER, written
from support import plans, run, staging_directories, wait_until


def comm(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def kill_everybody(process):
    """cprewind and all its guards, at once: nobody is left to put anything right."""
    for _ in range(3):
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit() and comm(entry.name) in ("cprewind", "cprewind-guard"):
                os.kill(int(entry.name), signal.SIGKILL)
    process.wait()


def journal_of(repo, container):
    return repo.path / "journal" / f"{container.id}.rewind"


@pytest.fixture
def broken_off(repo, container):
    """A rewind that was killed with all its guards when it had stopped the container."""
    writer = container(WRITER)
    wait_until(lambda: written(writer).count("\n") >= 20, "the program writes")
    repo.snap(writer)
    for _ in range(40):
        before = written(writer)
        process = repo.start("rewind", writer, "--to", f"{writer}@1")
        wait_until(lambda: journal_of(repo, writer).exists() or process.poll() is not None, "the journal", 60)
        kill_everybody(process)
        # Still frozen is still untouched.
        if journal_of(repo, writer).exists() and writer.state == "exited":
            yield writer, before
            for place in staging_directories(repo):
                shutil.rmtree(place)
            return
        repo("recover", writer)
    pytest.fail("40 times killed at the wrong moment")


def test_recover_brings_back_what_a_killed_rewind_has_stopped(repo, broken_off):
    writer, before = broken_off
    report = repo("recover", "--json").json["recovered"]
    assert [r["what"] for r in report] == ["at-before"] and report[0]["container_name"] == str(writer)
    assert writer.state == "running"
    after = written(writer)
    assert after.startswith(before)
    wait_until(lambda: len(written(writer)) > len(after), "the program writes on")
    assert not journal_of(repo, writer).exists() and plans() == []
    assert repo("recover").out == "nothing was left unfinished\n"
    repo.snap(writer)
    wait_until(lambda: not staging_directories(repo), "no staging directory is left")
    repo.assert_clean()


def test_snap_and_rewind_recover_first_and_say_so(repo, broken_off):
    writer, before = broken_off
    snapshot = repo.snap(writer)
    assert "broken off" in snapshot["recovered"]
    assert written(writer).startswith(before)
    assert repo.rewind(writer, f"{writer}@1")["recovered"] is None


def test_without_staging_and_safety_snapshot_it_says_what_is_left_to_do(repo, broken_off):
    writer, _ = broken_off
    for place in staging_directories(repo):
        shutil.rmtree(place)
    safety = [s["name"] for s in repo("log", "--json").json["snapshots"] if s["kind"] == "safety"][-1]
    pack = repo.pack_of(safety)
    data = pack.read_bytes()
    pack.write_bytes(data[: len(data) // 2])
    result = repo("recover", status=1)
    for word in ("broken off", safety, "stopped", f"cprewind recover {writer}", "--forget"):
        assert word in result.err, repr(result)
    # The journal stays, and a rewind to a sound snapshot leads out of it.
    assert journal_of(repo, writer).exists()
    pack.write_bytes(data)
    repo.rewind(writer, f"{writer}@1")
    assert writer.state == "running" and not journal_of(repo, writer).exists()


def test_without_staging_the_safety_snapshot_does(repo, broken_off):
    writer, before = broken_off
    for place in staging_directories(repo):
        shutil.rmtree(place)
    assert [r["what"] for r in repo("recover", writer, "--json").json["recovered"]] == ["at-before"]
    assert written(writer).startswith(before)


def test_forget_leaves_it_as_it_is(repo, broken_off):
    writer, _ = broken_off
    repo("recover", "--forget", writer)
    assert writer.state == "exited" and not journal_of(repo, writer).exists()
    assert repo("recover", "--json").json == {"recovered": []}


def test_a_container_left_paused_by_a_killed_snap_is_resumed(repo, container):
    heap = container(HEAP)
    heap.wait_for_tick(1)
    for _ in range(40):
        process = repo.start("snap", heap)
        wait_until(lambda: heap.state == "paused" or process.poll() is not None, "it is paused", 60)
        kill_everybody(process)
        time.sleep(0.2)
        if heap.state == "paused":
            break
    else:
        pytest.fail("never caught while paused")
    report = repo("recover", "--json").json["recovered"]
    assert [r["what"] for r in report] == ["resumed"]
    heap.assert_counts_on()
    repo.snap(heap)
    repo.assert_clean()


def test_a_stopped_container_is_stopped_again_with_its_files(repo, container):
    writer = container(WRITER)
    wait_until(lambda: written(writer).count("\n") >= 20, "the program writes")
    repo.snap(writer)
    only_now = pathlib.Path(writer.inspect("{{.GraphDriver.Data.UpperDir}}")) / "only-now"
    for _ in range(60):
        run(["docker", "kill", writer.id], status=None)
        only_now.write_text("here")
        process = repo.start("rewind", writer, "--to", f"{writer}@1")
        wait_until(lambda: journal_of(repo, writer).exists() or process.poll() is not None, "the journal", 60)
        kill_everybody(process)
        outcome = [r["what"] for r in repo("recover", writer, "--json").json["recovered"]]
        if outcome == ["at-before"]:
            break
        # Killed when it was done: then it stands, and is no stopped container any more. Or before it had begun.
        assert outcome in (["at-target"], []) and only_now.exists() == (writer.state == "exited")
        assert outcome == [] or writer.state == "running"
    else:
        pytest.fail("60 times killed at the wrong moment")
    assert writer.state == "exited"
    assert only_now.read_text() == "here"
    for place in staging_directories(repo):  # the next command would do it; nobody was left to
        shutil.rmtree(place)
