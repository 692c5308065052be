"""The main job: memory and files go back together, as often as one likes."""

import hashlib
import socket

import pytest

from programs import COUNTER, WRITER, written
from support import docker, plans, wait_until


@pytest.mark.parametrize("terminal", [[], ["--tty"], ["--interactive", "--tty"]], ids=["plain", "-t", "-it"])
def test_the_counter_of_dockers_checkpoint_page_counts_on_from_the_snapshot(repo, container, terminal):
    counter = container(COUNTER, "--security-opt=seccomp:unconfined", *terminal, image="busybox")
    counter.wait_for_tick(5)
    least = counter.last_tick()
    repo.snap(counter)
    most = counter.last_tick() + 1
    counter.wait_for_tick(most + 5)
    seen = len(counter.ticks())
    repo.rewind(counter, f"{counter}@1")
    wait_until(lambda: len(counter.ticks()) > seen + 4, "five more numbers")
    jumps = counter.jumps()
    assert len(jumps) == 1, f"one step back and no other irregularity: {jumps}"
    assert least <= jumps[0][1] <= most < jumps[0][0]
    assert counter.state == "running"


def snapshot_of_writer(repo, writer):
    """A snapshot, and what it says of the file."""
    name = repo.snap(writer)["name"]
    files = repo("inspect", name, "files", "--json").json["files"]
    return name, next(f for f in files if f["path"] == "/data.txt")


@pytest.mark.classic
def test_a_program_that_appends_to_a_file_goes_to_any_of_three_snapshots_ten_times_in_a_row(repo, container):
    writer = container(WRITER)
    snapshots = []
    for wanted in (20, 40, 60):
        wait_until(lambda: len(written(writer).splitlines()) >= wanted, f"{wanted} lines")
        snapshots.append(snapshot_of_writer(repo, writer))
    assert 0 < snapshots[0][1]["size"] < snapshots[1][1]["size"] < snapshots[2][1]["size"]
    for turn in (1, 3, 2, 2, 1, 1, 3, 1, 2, 3):
        name, file = snapshots[turn - 1]
        before = written(writer)
        repo.rewind(writer, name)
        after = written(writer)
        assert hashlib.sha256(after[: file["size"]].encode()).hexdigest() == file["sha256"]
        assert not after.startswith(before), "nothing went back"
        wait_until(lambda: len(written(writer)) > len(after), "the program writes on")
    repo.assert_clean()
    assert plans() == []


class Redis:
    """A client of a few lines."""

    def __init__(self, port):
        self.port = port

    def __call__(self, *words):
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words))
            answer = connection.makefile("rb")
            line = answer.readline().decode().rstrip("\r\n")
            return answer.read(int(line[1:])).decode() if line[:1] == "$" and line != "$-1" else line

    def answers(self):
        try:
            return self("PING") == "+PONG"
        except OSError:
            return False


@pytest.mark.classic
def test_redis_with_a_published_port_has_its_old_value_back_behind_the_same_port(repo, container):
    server = container(["redis-server", "--save", "", "--protected-mode", "no"], "--publish", "7401:6379")
    redis = Redis(7401)
    wait_until(redis.answers, "redis answers on the published port")
    address = server.address
    assert address
    redis("SET", "colour", "blue")
    repo.snap(server)
    for _ in range(2):
        redis("SET", "colour", "red")
        assert redis("GET", "colour") == "red"
        repo.rewind(server, f"{server}@1")
        assert redis("GET", "colour") == "blue"
    assert server.address == address
    assert docker("port", server.name, "6379").splitlines()[0].endswith(":7401")


@pytest.mark.parametrize("words", [["restart", "--time", "0"], ["kill"]], ids=["restart", "kill and start"])
def test_a_plain_start_after_a_rewind_begins_from_scratch(repo, container, words):
    counter = container(COUNTER, image="busybox")
    counter.wait_for_tick(5)
    repo.snap(counter)
    repo.rewind(counter, f"{counter}@1")
    docker(*words, counter.id)
    if words == ["kill"]:
        docker("start", counter.id)
    wait_until(lambda: counter.ticks().count(0) == 2, "the counter begins anew")
    assert counter.state == "running" and plans() == []
    assert [b for _, b in counter.jumps()][-1] == 0
    repo.rewind(counter, f"{counter}@1")
    assert counter.jumps()[-1][1] >= 5 or wait_until(lambda: counter.jumps()[-1][1] >= 5, "and can be rewound again")


# Numbers go there and back over one TCP connection; whatever ends it is printed.
TCP_CLIENT = """
import socket, sys, time
connection = socket.create_connection((sys.argv[1], 5555))
number = 0
while True:
    try:
        connection.sendall(b"%d\\n" % number)
        answer = connection.recv(100)
    except OSError as error:
        answer = str(error).encode()
    if answer != b"%d\\n" % number:
        print("closed", answer, flush=True); break
    print(number, flush=True); number += 1; time.sleep(0.05)
time.sleep(1000)
"""
TCP_SERVER = """
import socket, threading
server = socket.create_server(("0.0.0.0", 5555))
def serve(connection):
    while data := connection.recv(100): connection.sendall(data)
def accept():
    while True: threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""


def test_tcp_over_loopback_inside_the_container_survives(repo, container):
    program = TCP_SERVER + "threading.Thread(target=accept, daemon=True).start()\n" + TCP_CLIENT
    talker = container(["python3", "-c", program, "127.0.0.1"])
    talker.wait_for_tick(5)
    repo.snap(talker)
    talker.wait_for_tick(talker.last_tick() + 5)
    assert repo.rewind(talker, f"{talker}@1")["connections_closed"] is False
    wait_until(talker.jumps, "it counts on from the snapshot")
    talker.wait_for_tick(talker.last_tick() + 5)
    assert len(talker.jumps()) == 1


def test_a_tcp_connection_to_another_container_is_closed_and_the_program_sees_it(repo, container):
    server = container(["python3", "-c", TCP_SERVER + "print(0, flush=True)\naccept()"])
    server.last_tick()
    talker = container(["python3", "-c", TCP_CLIENT, server.address])
    talker.wait_for_tick(5)
    repo.snap(talker)
    talker.wait_for_tick(talker.last_tick() + 5)
    assert not talker.log_lines()[-1].startswith("closed"), "a snap closes nothing"
    assert repo.rewind(talker, f"{talker}@1")["connections_closed"] is True
    wait_until(lambda: talker.log_lines()[-1].startswith("closed"), "the program is told, instead of waiting for ever")
    assert talker.state == "running"


def test_a_port_that_docker_chose_is_the_same_after_a_rewind_or_the_new_one_is_named(repo, container):
    def port():
        return docker("port", server.name, "80").splitlines()[0].rsplit(":", 1)[1]

    server = container(COUNTER, "--publish", "80", image="busybox")
    server.wait_for_tick(1)
    repo.snap(server)
    before = port()
    result = repo("rewind", server, "--to", f"{server}@1")
    assert port() == before or port() in result.out
