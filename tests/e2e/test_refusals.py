"""Bad input: one or two lines that name the thing and the next step, the right status, and nothing was touched."""

import contextlib
import json
import os
import shutil

import pytest

from programs import COUNTER
from support import CPREWIND, Untouched, assert_refused, docker, run, staging_directories, wait_until


@pytest.fixture
def counter(container):
    made = container(COUNTER, image="busybox")
    made.wait_for_tick(2)
    return made


@contextlib.contextmanager
def nothing_changes(repo, counter):
    """Neither the container nor what the repository lists."""
    names = repo.names() if repo.path.exists() else None
    with Untouched(counter):
        yield
    if names is not None:
        assert repo.names() == names
        repo.assert_clean()
    assert staging_directories(repo) == []
    counter.assert_counts_on()


@pytest.mark.parametrize("verb", ["snap", "rewind"])
def test_an_unknown_container_is_named_and_a_near_name_suggested(repo, container, verb):
    counter = container(COUNTER, image="busybox", name="e2e-webserver")
    counter.wait_for_tick(1)
    repo.snap(counter)
    words = ["--to", "e2e-webserver@1"] if verb == "rewind" else []
    with nothing_changes(repo, counter):
        assert_refused(repo(verb, "e2e-websever", *words, status=1), "e2e-websever", "did you mean .*e2e-webserver'")


def test_a_stopped_container_cannot_be_snapped(repo, counter):
    docker("kill", counter.id)
    assert_refused(repo("snap", counter, status=1), counter.name, "not running", f"docker start {counter}")
    assert counter.state == "exited"
    assert not repo.path.exists() or repo.names() == []


def test_a_container_that_docker_removes_when_it_stops_is_not_rewound(repo, container):
    counter = container(COUNTER, "--rm", image="busybox")
    counter.wait_for_tick(1)
    repo.snap(counter)
    with nothing_changes(repo, counter):
        assert_refused(repo("rewind", counter, "--to", f"{counter}@1", status=1), counter.name, "--rm", "without --rm")


def test_an_unknown_snapshot_is_named_with_those_that_exist(repo, counter):
    repo.snap(counter)
    with nothing_changes(repo, counter):
        assert_refused(repo("rewind", counter, "--to", f"{counter}@7", status=1), f"{counter}@7", f"cprewind log {counter}")
        assert_refused(repo("inspect", f"{counter}@7", status=1), f"{counter}@7", f"{counter}@1")
        assert_refused(repo("rewind", counter, "--to", "goldn", status=1), "goldn", "cprewind log")
        assert_refused(repo("rm", f"{counter}@1", f"{counter}@7", status=1), f"{counter}@7")
        assert_refused(repo("inspect", f"{counter}~1", status=1), f"{counter}@1 has only 0 snapshots before it")
        assert_refused(repo("inspect", "@{", status=2), "@{")
        assert_refused(repo("diff", f"{counter}@1", f"{counter}@7", status=2), f"{counter}@7")


def test_an_ambiguous_snapshot_is_refused_with_what_it_may_mean(repo, counter):
    repo.snap(counter)
    ident = repo.snap(counter)["id"]
    # A tag that reads like the id of the other one.
    repo("tag", f"{counter}@1", counter.name)
    with nothing_changes(repo, counter):
        assert_refused(repo("rewind", counter, "--to", counter.name, status=1), counter.name, f"{counter}@1", f"{counter}@2")
    assert repo("inspect", ident[:12], "--json").json["subject"] == f"{counter}@2"


def test_a_snapshot_of_another_container_is_refused(repo, counter, container):
    other = container(COUNTER, image="busybox")
    other.wait_for_tick(1)
    repo.snap(other)
    repo.snap(counter)
    with Untouched(other), nothing_changes(repo, counter):
        result = repo("rewind", counter, "--to", f"{other}@1", status=None)
        assert result.status in (1, 2)
        assert_refused(result, counter.name, f"{other}@1", f"cprewind log {counter}")


@pytest.mark.parametrize("words, expected", [
    (["snip"], ["snip", "did you mean 'snap'"]),
    ([], ["cprewind help"]),
    (["snap"], ["CONTAINER is missing"]),
    (["snap", "{}", "--mesage", "x"], ["--mesage", "did you mean '--message'"]),
    (["snap", "{}", "--via", "magic"], ["magic", "runtime"]),
    (["snap", "{}", "--tag", "a b"], ["a b"]),
    (["snap", "{}", "--tag"], ["--tag"]),
    (["rewind", "{}"], ["--to", "cprewind log"]),
    (["rewind", "{}", "--to", "{}@1", "extra"], ["extra"]),
    (["inspect", "{}@1", "fdss"], ["fdss", "did you mean 'fds'"]),
    (["inspect", "{}@1", "ps", "--pid", "one"], ["one"]),
    (["verify", "--repo"], ["--repo"]),
    (["setup", "--undoo"], ["did you mean '--undo'"]),
], ids=lambda value: " ".join(value) if isinstance(value, list) else None)
def test_a_wrong_word_is_a_usage_error(repo, counter, words, expected):
    repo.snap(counter)
    with nothing_changes(repo, counter):
        assert_refused(repo(*(w.format(counter) for w in words), status=2), *expected)


def test_a_process_that_is_not_there_is_named_with_those_that_are(repo, counter):
    repo.snap(counter)
    assert_refused(repo("inspect", f"{counter}@1", "ps", "--pid", "4711", status=1), "4711", "its processes are: 1")


def test_docker_that_is_down_is_named_by_its_socket(repo, counter):
    repo.snap(counter)
    down = {"DOCKER_HOST": "unix:///run/nobody.sock"}
    with nothing_changes(repo, counter):
        assert_refused(repo("snap", counter, status=1, env=down), "/run/nobody.sock", "[Dd]ocker")
        assert_refused(repo("rewind", counter, "--to", f"{counter}@1", status=1, env=down), "/run/nobody.sock")
        assert repo("log", env=down).out, "reading needs no Docker"
        assert repo("doctor", "--json", status=1, env=down).json["ready"] is False


def test_a_docker_host_that_is_no_socket_is_refused(repo):
    assert_refused(repo("snap", "x", status=1, env={"DOCKER_HOST": "tcp://127.0.0.1:1"}), "tcp://127.0.0.1:1", "unix://")


@pytest.mark.parametrize("text, place", [('{\n  "experimental": true,\n  oops\n}\n', "line 3"), ("[]", "object"),
                                         ('{"runtimes": 7}', "runtimes")])
def test_a_daemon_json_that_is_not_json_is_left_alone_and_the_place_named(repo, directory, text, place):
    config = directory / "daemon.json"
    config.write_text(text)
    result = repo("setup", "--yes", "--config", config, status=1)
    assert_refused(result, str(config), place)
    assert config.read_text() == text and os.listdir(directory) == ["daemon.json"]


def test_a_repository_of_a_newer_format_is_refused(repo, counter):
    repo.snap(counter)
    file = repo.path / "format"
    text = file.read_text()
    file.write_text(text.replace("version ", "version 9"))
    with Untouched(counter):
        for words in (["snap", counter], ["log"], ["rewind", counter, "--to", f"{counter}@1"], ["verify"], ["rm", f"{counter}@1"]):
            assert_refused(repo(*words, status=1), str(repo.path), "format 9", "newer")
    file.write_text(text)
    repo.assert_clean()
    assert repo.names() == [f"{counter}@1"]


def test_a_directory_that_is_no_repository_is_refused(repo, counter):
    repo.path.mkdir()
    (repo.path / "diary.txt").write_text("not yours\n")
    with Untouched(counter):
        assert_refused(repo("snap", counter, status=1), str(repo.path), "not a repository")
        assert_refused(repo("log", status=1), str(repo.path))
    assert os.listdir(repo.path) == ["diary.txt"]


@pytest.mark.parametrize("size", [1, 4, 8])
def test_a_full_disk_stores_nothing_and_leaves_container_and_repository_as_they_were(repo, container, size):
    # 8 MiB that do not compress, onto a file system of a few: it is full at once, early, or towards the end.
    heap = container(["python3", "-uc", "import os,time\nheap=os.urandom(8<<20)\nn=0\nwhile 1: print(n); n+=1; time.sleep(0.05)"])
    heap.wait_for_tick(1)
    repo.path.mkdir()
    run(["mount", "-t", "tmpfs", "-o", f"size={size}m,mode=700", "tmpfs", repo.path])
    try:
        since = heap.pid
        assert_refused(repo("snap", heap, status=1), str(repo.path), "space|full")
        assert (heap.state, heap.pid) == ("running", since)
        heap.assert_counts_on()
        assert repo.names() == []
        repo.assert_clean()
        assert staging_directories(repo) == []
        run(["mount", "-o", f"remount,size={size + 20}m", repo.path])
        assert repo.snap(heap)["name"] == f"{heap}@1"
        repo.assert_clean()
    finally:
        run(["umount", repo.path])


@pytest.fixture
def nobody():
    """A command prefix that makes it another user's, without any capability."""
    return ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


def test_a_user_other_than_root_is_told_what_snap_and_rewind_need(repo, counter, directory, nobody):
    repo.snap(counter)
    os.chmod(directory, 0o777)
    with nothing_changes(repo, counter):
        elsewhere = {"CPREWIND_REPO": str(directory / "mine")}
        assert_refused(repo("snap", counter, status=1, prefix=nobody, env=elsewhere), "permission|root", "sudo|root")
        assert_refused(repo("rewind", counter, "--to", f"{counter}@1", status=1, prefix=nobody), "permission|denied|root")
        assert_refused(repo("log", status=1, prefix=nobody), str(repo.path), "permission|denied|root")
    assert os.listdir(directory) == []


def test_a_host_without_criu_is_told_so(repo, counter, directory):
    # All programs but criu.
    for place in ("/usr/sbin", "/usr/bin"):
        for program in os.listdir(place):
            if "criu" not in program and not (directory / program).exists():
                (directory / program).symlink_to(f"{place}/{program}")
    without = {"PATH": str(directory)}
    with nothing_changes(repo, counter):
        assert_refused(repo("snap", counter, status=1, env=without), "[Cc][Rr][Ii][Uu]", "install")
    report = repo("doctor", "--json", status=1, env=without).json
    criu = next(check for check in report["checks"] if check["what"] == "CRIU")
    assert criu["verdict"] == "bad" and criu["remedy"]


def test_a_container_of_plain_runc_is_snapped_but_its_rewind_refused_before_anything_is_touched(repo, container):
    counter = container(COUNTER, image="busybox", runtime=None)
    counter.wait_for_tick(1)
    assert repo.snap(counter)["via"] == "runtime"
    with nothing_changes(repo, counter):
        for via in ([], ["--via", "runtime"], ["--via", "api"]):
            assert_refused(repo("rewind", counter, "--to", f"{counter}@1", *via, status=1), counter.name, "runc",
                           "--runtime cprewind")


def test_a_container_of_plain_runc_on_the_hosts_network_is_rewound_by_docker_itself(repo, container):
    counter = container(COUNTER, "--network", "host", image="busybox", runtime=None)
    counter.wait_for_tick(3)
    repo.snap(counter)
    taken = counter.last_tick()
    counter.wait_for_tick(taken + 6)
    assert repo.rewind(counter, f"{counter}@1")["via"] == "api"
    wait_until(counter.jumps, "it counts on from the snapshot")
    assert [back <= taken + 1 for _, back in counter.jumps()] == [True]
    repo.assert_clean()


def test_with_json_an_error_is_an_object_on_stderr(repo):
    result = repo("snap", "e2e-nobody", "--json", status=1)
    assert result.out == ""
    error = json.loads(result.err.removeprefix("cprewind: "))["error"]
    assert set(error) == {"kind", "message", "hint"} and error["kind"] == "not-found" and "e2e-nobody" in error["message"]
