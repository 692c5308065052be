"""Containers under plain runc, where Docker itself can restore: engines before 28."""

import pytest

from programs import COUNTER, WRITER, written
from support import wait_until
from test_rewind import Redis

pytestmark = pytest.mark.old_engine


@pytest.mark.parametrize("snap_via", ["runtime", "api"])
def test_a_counter_under_plain_runc_is_rewound_by_docker_again_and_again(repo, container, snap_via):
    counter = container(COUNTER, image="busybox", runtime=None)
    counter.wait_for_tick(5)
    least = counter.last_tick()
    assert repo.snap(counter, "--via", snap_via)["via"] == snap_via
    most = counter.last_tick() + 1
    # Also at once, and twice in a row: Docker's content store may still hold what the last restore put there.
    for turn, via in enumerate(([], [], ["--via", "api"]), 1):
        counter.wait_for_tick(most + 2 * turn)
        assert repo.rewind(counter, f"{counter}@1", *via)["via"] == "api"
        wait_until(lambda: len(counter.jumps()) == turn, "one more step back")
        assert least <= counter.jumps()[-1][1] <= most
    repo.assert_clean()


def test_a_program_that_appends_to_a_file_under_plain_runc_goes_back_with_its_file(repo, container):
    writer = container(WRITER, runtime=None)
    wait_until(lambda: len(written(writer).splitlines()) >= 20, "20 lines")
    repo.snap(writer)
    for _ in range(2):
        before = written(writer)
        repo.rewind(writer, f"{writer}@1")
        after = written(writer)
        assert not after.startswith(before)
        wait_until(lambda: len(written(writer)) > len(after), "the program writes on")


def test_redis_under_plain_runc_has_its_old_value_back_behind_the_same_port(repo, container):
    server = container(["redis-server", "--save", "", "--protected-mode", "no"], "--publish", "7402:6379", runtime=None)
    redis = Redis(7402)
    wait_until(redis.answers, "redis answers on the published port")
    redis("SET", "colour", "blue")
    repo.snap(server)
    redis("SET", "colour", "red")
    assert repo.rewind(server, f"{server}@1")["via"] == "api"
    wait_until(redis.answers, "redis answers again")
    assert redis("GET", "colour") == "blue"
