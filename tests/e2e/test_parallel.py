"""Several cprewinds at once: they wait or are refused, and never damage anything."""

import time

import pytest

from programs import HEAP
from support import wait_until


def finish(processes):
    return [process.wait(timeout=60) for process in processes]


def test_two_containers_can_be_snapped_at_once(repo, container):
    heaps = [container(HEAP) for _ in range(2)]
    for heap in heaps:
        heap.wait_for_tick(1)
    assert finish([repo.start("snap", heap) for heap in heaps]) == [0, 0]
    assert sorted(repo.names()) == sorted(f"{heap}@1" for heap in heaps)
    repo.assert_clean()


@pytest.mark.parametrize("verb", ["snap", "rewind"])
def test_two_at_once_on_one_container_do_no_damage(repo, container, verb):
    heap = container(HEAP)
    heap.wait_for_tick(1)
    repo.snap(heap)
    other = ["rewind", heap, "--to", f"{heap}@1"] if verb == "rewind" else ["snap", heap]
    for lag in (0, 0.05, 0.15):
        processes = [repo.start("snap", heap)]
        time.sleep(lag)
        processes.append(repo.start(*other))
        statuses = finish(processes)
        assert set(statuses) <= {0, 1} and 0 in statuses, f"{statuses} at a lag of {lag} s"
        wait_until(lambda: heap.state == "running", "it runs")
        heap.assert_counts_on()
    repo.assert_clean()
    repo.rewind(heap, f"{heap}@latest")
    heap.assert_counts_on()
