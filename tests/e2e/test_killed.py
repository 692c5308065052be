"""kill -9 at any moment: the container runs on, and the repository holds whole snapshots only."""

import time

from programs import HEAP, WRITER, written
from support import plans, run, staging_directories, wait_until


def no_cprewind_left():
    return run(["pgrep", "-x", "cprewind|cprewind-guard"], status=None).status == 1


def kill_after(process, milliseconds):
    """True if it was still at work."""
    time.sleep(milliseconds / 1000)
    at_work = process.poll() is None
    process.kill()
    process.wait()
    return at_work


def test_a_snap_killed_at_any_moment_leaves_the_container_running_and_the_repository_clean(repo, container, chance):
    heap = container(HEAP)
    heap.wait_for_tick(1)
    started = time.monotonic()
    repo.snap(heap)
    wall = (time.monotonic() - started) * 1000
    delays = [chance.uniform(5, 400) for _ in range(12)] + [chance.uniform(0.3, 1) * wall for _ in range(3)]
    killed = 0
    for delay in delays:
        killed += kill_after(repo.start("snap", heap), delay)
        deadline = time.monotonic() + 2
        wait_until(lambda: heap.state == "running", f"running 2 s after a kill at {delay:.0f} ms", 2)
        heap.assert_counts_on(max(0.1, deadline - time.monotonic()))
        wait_until(lambda: not staging_directories(repo), f"no staging directory 3 s after a kill at {delay:.0f} ms", 3)
        wait_until(no_cprewind_left, f"no cprewind is left after a kill at {delay:.0f} ms")
    assert killed >= 10, f"a snap takes {wall:.0f} ms here: too short for these delays"
    # The last one killed may have left its pack half-written: told as harmless, and gone after the next snap.
    assert all(fault["harmless"] for fault in repo("verify", "--json").json["faults"])
    name = repo.snap(heap)["name"]
    repo.assert_clean()
    assert repo("inspect", name, "ps", "--json").json["processes"][0]["pid"] == 1


def test_a_rewind_killed_at_any_moment_leaves_the_container_as_before_or_at_the_target(repo, container, chance):
    writer = container(WRITER)
    wait_until(lambda: len(written(writer).splitlines()) >= 10, "ten lines")
    repo.snap(writer)
    files = repo("inspect", f"{writer}@1", "files", "--json").json["files"]
    size = next(f["size"] for f in files if f["path"] == "/data.txt")
    target = written(writer)[:size]
    started = time.monotonic()
    repo.rewind(writer, f"{writer}@1")
    wall = (time.monotonic() - started) * 1000
    outcomes = {"before": 0, "target": 0}
    # Evenly, since what happens in a rewind is spread over it, and at random within each stretch.
    for part in range(12):
        delay = wall * (part + chance.random()) / 12
        before = written(writer)
        kill_after(repo.start("rewind", writer, "--to", f"{writer}@1"), delay)
        wait_until(no_cprewind_left, f"nothing of cprewind is left after a kill at {delay:.0f} ms", 20)
        wait_until(lambda: writer.state == "running", f"running 20 s after a kill at {delay:.0f} ms", 20)
        after = written(writer)
        if after.startswith(before):
            outcomes["before"] += 1
        else:
            assert after.startswith(target), f"neither of before nor of the target, killed at {delay:.0f} ms"
            outcomes["target"] += 1
        wait_until(lambda: len(written(writer)) > len(after), "the program writes on")
        assert staging_directories(repo) == []
        assert plans() == [], f"a plan is left after a kill at {delay:.0f} ms"
    print(outcomes)
    repo.assert_clean()
    repo.rewind(writer, f"{writer}@1")
    assert written(writer).startswith(target)
