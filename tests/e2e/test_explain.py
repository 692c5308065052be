"""`explain`: CRIU's logs in plain words, ours and anybody's."""

import pathlib

import pytest

import support
from programs import COUNTER
from support import run, wait_until

# A local name: the address of a kernel ring that CRIU has no way to read. Its doctor is told in test_doctor.
TRACED = ["python3", "-uc", "import time\nprint('ready')\nwhile True: time.sleep(1)"]


def explain(*words, status=3, **options):
    return run([support.CPREWIND, "explain", *words], status=status, **options)


def test_a_log_of_criu_is_told_as_cause_and_remedy_with_the_line_that_says_so(directory):
    log = directory / "dump.log"
    log.write_text("(00.000025) Version: 4.2.1 (gitid 0)\n"
                   "(00.019331) Error (criu/sk-inet.c:185): inet: In-flight connection (l) for 28de1\n"
                   "(00.019343) Error (criu/cr-dump.c:1545): Dump files (pid: 319) failed with -1\n"
                   "(00.019941) Error (criu/cr-dump.c:1975): Dumping FAILED.\n")
    said = explain(log).out
    assert "a connection waits to be accepted by the program" in said
    assert "line 2: Error (criu/sk-inet.c:185)" in said and "-> " in said
    document = explain(log, "--json").json
    assert (document["phase"], document["outcome"], document["criu"]) == ("dump", "failed", "4.2.1")
    [problem] = document["problems"]
    assert problem["known"] and problem["line_number"] == 2 and problem["remedy"] and problem["meaning"]
    assert document["consequences"] == 2


def test_standard_input_and_what_docker_prints_are_understood():
    said = explain(input="Error response from daemon: bind-mount /proc/0/ns/net -> /x: no such file or directory\n", stdin=None)
    assert "Docker 28" in said.out and "cprewind rewind" in said.out
    assert explain("-", input="all is well\n", stdin=None, status=0).out.endswith("it tells of no error\n")


def test_the_log_of_a_snapshot_tells_of_no_error(repo, container):
    counter = container(COUNTER, image="busybox")
    counter.wait_for_tick(1)
    name = repo.snap(counter)["name"]
    document = repo("explain", name, "--json").json
    assert document["outcome"] == "succeeded" and document["log"] == name


def test_the_last_failure_on_this_host_is_kept_for_explain(repo, container):
    # A corked socket: data that is in the kernel and cannot be read back.
    program = """
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("127.0.0.1", 9)); s.setsockopt(17, 1, 1); s.send(b"half")
print("ready", flush=True)
time.sleep(1000)
"""
    corked = container(["python3", "-c", program])
    wait_until(corked.log_lines, "it is ready")
    failed = repo("snap", corked, status=1)
    assert "halfway through building a UDP packet" in failed.err and corked.state == "running"
    document = repo("explain", "--json", status=3).json
    assert document["problems"][0]["cause"] == "a process is halfway through building a UDP packet"
    assert pathlib.Path(document["log"]).stat().st_mode & 0o777 == 0o600


def test_a_log_that_is_not_there_is_refused_with_the_next_step(repo):
    support.assert_refused(explain("/no/such.log", status=1), "/no/such.log")


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\u202e"])
def test_bytes_of_a_log_never_reach_the_terminal(directory, hostile):
    log = directory / "x.log"
    log.write_text(f"(00.1) Error (criu/a.c:1): name {hostile} gone\n")
    assert hostile not in explain(log).out
