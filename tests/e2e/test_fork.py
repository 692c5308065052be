"""`fork`: a past moment as a container of its own, beside the original or without it."""

import json
import os
import signal
import time

import pytest

from programs import COUNTER, HEAP, WRITER, written
from support import Container, Untouched, docker, plans, run, staging_directories, wait_until
from test_rewind import Redis


@pytest.fixture
def fork(repo):
    """Forks that are gone afterwards."""
    made = []

    def make(snapshot, name, *words):
        document = repo("fork", snapshot, "--name", name, "--json", *words).json
        forks = [Container(f["name"], f["id"]) for f in document["forks"]]
        made.extend(forks)
        return document, forks

    yield make
    for one in made:
        docker("rm", "--force", "--volumes", one.id, status=None)
    for volume in docker("volume", "ls", "--quiet", "--filter", "label=cprewind.fork").split():
        docker("volume", "rm", volume, status=None)


def test_memory_and_files_of_then_run_on_beside_the_original_that_is_not_touched(repo, container, fork):
    writer = container(WRITER, "--hostname", "its-name")
    wait_until(lambda: len(written(writer).splitlines()) >= 20, "20 lines")
    name = repo.snap(writer)["name"]
    then = next(f for f in repo("inspect", name, "files", "--json").json["files"] if f["path"] == "/data.txt")["size"]
    wait_until(lambda: len(written(writer)) > then + 1000, "the original goes on")
    with Untouched(writer):
        document, [copy] = fork(name, "e2e-copy")
    assert document["target"]["name"] == name and document["connections_closed"] is False
    now, original = written(copy), written(writer)
    assert now[:then] == original[:then] and now != original[: len(now)], "they parted after the snapshot"
    wait_until(lambda: len(written(copy)) > len(now), "the copy writes on")
    assert copy.exec("hostname").strip() == "its-name"
    assert copy.id != writer.id and copy.address != writer.address
    assert plans() == [] and staging_directories() == []


def test_its_timeline_begins_with_the_snapshot(repo, container, fork):
    counter = container(COUNTER, image="busybox")
    counter.wait_for_tick(3)
    first = repo.snap(counter)
    _, [copy] = fork(first["name"], "e2e-branch")
    wait_until(lambda: copy.log_lines(), "the fork counts")
    second = repo.snap(copy)
    repo.snap(counter)
    assert second["parent"] == first["id"] and second["name"] == "e2e-branch@1"
    graph = repo("log", "--graph").out
    assert "e2e-branch@1" in graph and graph.count("<- now") == 2
    assert any("|" in line.split("e2e")[0] for line in graph.splitlines()), f"a branch: {graph}"
    # And it can be rewound like any other.
    copy.wait_for_tick(copy.last_tick() + 5)
    assert repo.rewind(copy, "e2e-branch@1")["processes"] >= 1


def test_it_works_when_the_original_and_the_name_of_its_image_are_gone(repo, container, fork):
    docker("tag", "busybox", "e2e-image")
    counter = container(COUNTER, image="e2e-image")
    counter.wait_for_tick(5)
    name = repo.snap(counter)["name"]
    docker("rm", "--force", counter.id)
    docker("rmi", "e2e-image")
    _, [copy] = fork(name, "e2e-orphan")
    assert wait_until(copy.ticks, "it counts")[0] >= 5


def test_a_server_answers_at_its_own_port_and_no_port_is_published_unless_asked_for(repo, container, fork):
    server = container(["redis-server", "--save", "", "--protected-mode", "no"], "--publish", "7411:6379")
    redis = Redis(7411)
    wait_until(redis.answers, "redis answers")
    redis("SET", "colour", "blue")
    name = repo.snap(server)["name"]
    redis("SET", "colour", "red")
    document, [plain] = fork(name, "e2e-quiet")
    assert document["dropped_ports"] == ["6379/tcp"] and docker("port", plain.name) == ""
    document, [loud] = fork(name, "e2e-loud", "--publish", "7412:6379")
    assert document["dropped_ports"] == [] and document["forks"][0]["ports"]["6379/tcp"].startswith("0.0.0.0:7412")
    assert Redis(7412)("GET", "colour") == "blue" and redis("GET", "colour") == "red"
    document, [free] = fork(name, "e2e-free", "--publish-all")
    port = int(docker("port", free.name, "6379").splitlines()[0].rsplit(":", 1)[1])
    assert Redis(port)("GET", "colour") == "blue"


def test_eight_at_once_share_their_pages(repo, container, fork):
    heap = container(HEAP)
    wait_until(heap.ticks, "the heap is made", 60)
    name = repo.snap(heap)["name"]
    document, forks = fork(name, "e2e-many", "--count", "8", "--publish", "7420:80")
    assert [f.name for f in forks] == [f"e2e-many-{i}" for i in range(1, 9)]
    assert [f["ports"]["80/tcp"].split(", ")[0] for f in document["forks"]] == [f"0.0.0.0:{7420 + i}" for i in range(8)]
    for one in forks:
        one.assert_counts_on()
    assert staging_directories() == [] and plans() == []


@pytest.mark.parametrize("mode, same, writable", [("copy", False, True), ("empty", False, True), ("share", True, True), ("ro", True, False)])
def test_volumes_are_copied_shared_or_new(repo, container, fork, mode, same, writable):
    docker("volume", "rm", "e2e-data", status=None)
    counter = container(COUNTER, "--volume", "e2e-data:/data", image="busybox")
    counter.exec("sh", "-c", "echo one > /data/file")
    counter.wait_for_tick(1)
    name = repo.snap(counter)["name"]
    document, [copy] = fork(name, "e2e-volumes", "--volumes", mode)
    assert copy.exec("sh", "-c", "cat /data/file || true").strip() == ("" if mode == "empty" else "one")
    wrote = run(["docker", "exec", copy.id, "sh", "-c", "echo two > /data/file"], status=None).status == 0
    assert wrote == writable
    seen = counter.exec("cat", "/data/file").strip()
    assert seen == ("two" if same and writable else "one")
    assert [v["destination"] for v in document["forks"][0]["volumes"]] == ([] if same else ["/data"])
    docker("rm", "--force", copy.id)


def test_a_volume_that_the_snapshot_holds_is_copied_as_it_was_then(repo, container, fork):
    docker("volume", "rm", "e2e-then", "e2e-later", status=None)
    counter = container(COUNTER, "--volume", "e2e-then:/then", "--volume", "e2e-later:/later", image="busybox")
    counter.exec("sh", "-c", "echo one > /then/file; echo one > /later/file")
    counter.wait_for_tick(1)
    name = repo.snap(counter, "--volumes=e2e-then")["name"]
    counter.exec("sh", "-c", "echo two > /then/file; echo two > /then/new; echo two > /later/file")
    _, [copy] = fork(name, "e2e-volume-then")
    assert copy.exec("cat", "/then/file", "/later/file").split() == ["one", "two"]
    assert copy.exec("ls", "/then").split() == ["file"]
    assert counter.exec("cat", "/then/file", "/then/new").split() == ["two", "two"]
    docker("rm", "--force", copy.id)


def test_a_directory_of_the_host_is_read_only_in_a_fork(repo, container, fork, directory):
    counter = container(COUNTER, "--volume", f"{directory}:/host", image="busybox")
    counter.wait_for_tick(1)
    name = repo.snap(counter)["name"]
    document, [copy] = fork(name, "e2e-host")
    assert document["read_only_directories"] == ["/host"]
    run(["docker", "exec", copy.id, "touch", "/host/x"], status=1)
    counter.exec("touch", "/host/y")


def test_on_another_network(repo, container, fork):
    docker("network", "create", "e2e-net", status=None)
    counter = container(COUNTER, image="busybox")
    counter.wait_for_tick(1)
    name = repo.snap(counter)["name"]
    _, [copy] = fork(name, "e2e-elsewhere", "--network", "e2e-net")
    assert list(json.loads(copy.inspect("{{json .NetworkSettings.Networks}}"))) == ["e2e-net"]
    docker("rm", "--force", copy.id)
    docker("network", "rm", "e2e-net")


def containers():
    return set(docker("ps", "--all", "--quiet", "--no-trunc").split())


def test_a_fork_that_fails_leaves_nothing_behind(repo, container):
    # A file on a volume that the fork gets empty cannot be opened again.
    docker("volume", "rm", "e2e-data", status=None)
    writer = container(["python3", "-uc", "f = open('/data/open', 'w')\nprint(1)\nimport time\ntime.sleep(999)"], "--volume", "e2e-data:/data")
    wait_until(writer.log_lines, "it has opened its file")
    name = repo.snap(writer)["name"]
    before, volumes = containers(), docker("volume", "ls", "--quiet")
    with Untouched(writer):
        failed = repo("fork", name, "--name", "e2e-bad", "--count", "3", "--volumes", "empty", status=1)
    assert "no longer there" in failed.err
    assert containers() == before and docker("volume", "ls", "--quiet") == volumes
    assert plans() == [] and staging_directories() == []
    taken = repo("fork", name, "--name", writer.name, status=2)
    assert "already" in taken.err and containers() == before


def test_killed_in_the_middle_it_leaves_nothing_behind(repo, container, chance):
    heap = container(HEAP)
    wait_until(heap.ticks, "the heap is made", 60)
    name = repo.snap(heap)["name"]
    before = containers()
    for _ in range(3):
        forking = repo.start("fork", name, "--name", "e2e-killed", "--count", "3")
        wait_until(lambda: containers() != before or forking.poll() is not None, "it makes containers", 60)
        time.sleep(chance.random())
        if forking.poll() is None:
            os.kill(forking.pid, signal.SIGKILL)
        forking.wait()
        # The guard of the dump goes last.
        wait_until(lambda: staging_directories() == [], "no dump is left", 60)
        left = containers() - before
        # All: they were ready before the kill, though it may not have been said yet.
        assert len(left) in (0, 3), left
        for ident in left:
            docker("rm", "--force", ident)
        assert containers() == before and plans() == []
    heap.assert_counts_on()
