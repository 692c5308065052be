"""Connections."""

import socket
import threading

import pytest

from support import docker, engine_version, run, wait_until
from test_rewind import TCP_CLIENT, TCP_SERVER

BRIDGE = "172.17.0.1"

UDP = """
import socket, sys, threading, time
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); server.bind(("0.0.0.0", 5556))
def serve():
    while True: data, sender = server.recvfrom(100); server.sendto(data, sender)
threading.Thread(target=serve, daemon=True).start()
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); client.connect((sys.argv[1], 5556)); client.settimeout(0.5)
number = 0
while True:
    client.send(b"%d" % number)
    try: answer = client.recv(100)
    except OSError: continue
    if answer == b"%d" % number: print(number, flush=True); number += 1; time.sleep(0.05)
"""


def counts_on(made):
    wait_until(made.jumps, "it counts on from the snapshot", 30)
    made.wait_for_tick(made.last_tick() + 5)
    assert len(made.jumps()) == 1


def test_tcp_inside(cell):
    """TCP over loopback inside the container: the connection survives"""
    program = TCP_SERVER + "threading.Thread(target=accept, daemon=True).start()\n" + TCP_CLIENT
    made = cell.run(["python3", "-c", program, "127.0.0.1"])
    made.wait_for_tick(5)
    cell.snap(made)
    made.wait_for_tick(made.last_tick() + 10)
    cell.rewind(made)
    counts_on(made)


def test_tcp_inside_by_address(cell):
    """TCP inside the container by its own address: the connection survives"""
    program = TCP_SERVER + "threading.Thread(target=accept, daemon=True).start()\n" + \
        "import sys\nsys.argv.append(socket.gethostbyname(socket.gethostname()))\n" + TCP_CLIENT
    made = cell.run(["python3", "-c", program])
    made.wait_for_tick(5)
    cell.snap(made)
    made.wait_for_tick(made.last_tick() + 10)
    cell.rewind(made)
    counts_on(made)


# Listens on the container's own address only.
BOUND = """
import socket
address = socket.gethostbyname(socket.gethostname())
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind((address, 5557))
server = socket.create_server((address, 5555)); number = 0
print(address, flush=True)
while True:
    connection, _ = server.accept(); number += 1
    with connection: connection.sendall(b"%d" % number)
"""


def test_bound(cell):
    """a server that listens on the container's own address only"""
    made = cell.run(["python3", "-c", BOUND])
    address = wait_until(made.log_lines, "it listens")[0]

    def number():
        with socket.create_connection((address, 5555), timeout=10) as connection:
            return int(connection.recv(100))

    assert number() == 1
    cell.snap(made)
    assert number() == 2
    cell.rewind(made)
    assert number() == 2


def told(made):
    wait_until(lambda: made.log_lines()[-1].startswith("closed"), "the program is told, instead of waiting for ever", 20)
    assert made.state == "running"


def test_tcp_to_container(cell):
    """TCP to another container: closed, and the program sees it"""
    server = cell.run(["python3", "-c", TCP_SERVER + "print(0, flush=True)\naccept()"])
    server.last_tick()
    made = cell.run(["python3", "-c", TCP_CLIENT, server.address])
    made.wait_for_tick(5)
    cell.snap(made)
    made.wait_for_tick(made.last_tick() + 10)
    cell.rewind(made)
    told(made)


def test_tcp_to_outside(cell):
    """TCP to a server outside: closed, and the program sees it"""
    with socket.create_server((BRIDGE, 5555)) as server:
        def serve(connection):
            while data := connection.recv(100):
                connection.sendall(data)

        def accept():
            try:
                while True:
                    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
            except OSError:
                pass  # the end of the test

        threading.Thread(target=accept, daemon=True).start()
        made = cell.run(["python3", "-c", TCP_CLIENT, BRIDGE])
        made.wait_for_tick(5)
        cell.snap(made)
        made.wait_for_tick(made.last_tick() + 10)
        cell.rewind(made)
        told(made)


# Says of each client what it sent, and when it was gone.
GREETER = """
import socket, threading
server = socket.create_server(("0.0.0.0", 5555))
def serve(connection):
    try:
        while data := connection.recv(100): connection.sendall(data); print("said", data.decode(), flush=True)
        print("gone", flush=True)
    except OSError as error: print("gone", error, flush=True)
print("ready", flush=True)
while True: threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""


def test_tcp_from_outside(cell):
    """a client's TCP connection through a published port: the server sees its end, the client a reset, new ones are served"""
    made = cell.run(["python3", "-c", GREETER], "--publish", "7504:5555")
    wait_until(lambda: made.log_lines() == ["ready"], "ready")

    def say(connection, word):
        connection.sendall(word)
        return connection.recv(100)

    with socket.create_connection(("127.0.0.1", 7504), timeout=20) as old:
        assert say(old, b"one") == b"one"
        cell.snap(made)
        assert say(old, b"two") == b"two"
        cell.rewind(made, expect=["/status/Threads"])  # the one that served it ends
        wait_until(lambda: made.log_lines()[-1].startswith("gone"), "the server sees the end of the connection", 20)
        try:
            assert say(old, b"three") == b"", "the old connection lives on?"
        except OSError as error:
            assert not isinstance(error, TimeoutError), "the client hangs"
    with socket.create_connection(("127.0.0.1", 7504), timeout=10) as new:
        assert say(new, b"four") == b"four"


@pytest.mark.fast
def test_udp_inside(cell):
    """UDP over loopback"""
    made = cell.run(["python3", "-c", UDP, "127.0.0.1"])
    made.wait_for_tick(5)
    cell.snap(made)
    made.wait_for_tick(made.last_tick() + 10)
    cell.rewind(made)
    counts_on(made)


def test_udp_to_container(cell):
    """UDP to another container"""
    other = cell.run(["python3", "-c", UDP, "127.0.0.1"])
    other.last_tick()
    made = cell.run(["python3", "-c", UDP, other.address])
    made.wait_for_tick(5)
    cell.snap(made)
    made.wait_for_tick(made.last_tick() + 10)
    cell.rewind(made)
    counts_on(made)


def test_raw(cell):
    """raw, packet and netlink sockets"""
    program = """
import socket, time
held = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
        socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)]
held[1].bind((0, 0))
number = 0
while True: print(number, flush=True); number += 1; time.sleep(0.05); [s.getsockname() for s in held[:2]]
"""
    made = cell.run(["python3", "-c", program])
    made.wait_for_tick(3)
    cell.snap(made)
    made.wait_for_tick(made.last_tick() + 10)
    cell.rewind(made)
    counts_on(made)


@pytest.mark.parametrize("kind", ["a packet socket", "a UDP socket (`SO_BINDTODEVICE`)"])
def test_bound_to_interface(cell, kind):
    """{kind} bound to eth0"""
    make = "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); s.bind(('eth0', 0))" if "packet" in kind else \
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(1, 25, b'eth0'); s.bind(('', 999))"
    made = cell.run(["python3", "-c", f"import socket, time\n{make}\nn = 0\n"
                                      "while True: print(n, flush=True); n += 1; time.sleep(0.05)"])
    made.wait_for_tick(3)
    cell.snap(made)
    made.wait_for_tick(made.last_tick() + 10)
    if "packet" in kind or engine_version() >= 28:
        cell.refused(["rewind", made, "--to", f"of-{made}"], "interface", "Docker 28 makes the interface after the restore, "
                     "and before 28 it has another number each time", "snap while no such socket is open, or use "
                     "`--network host`", made)
    cell.rewind(made)
    counts_on(made)


def test_host_socket(cell, directory):
    """a unix socket of the host, mounted in and connected"""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(directory / "s"))
    server.listen()
    program = "import socket,time\ns=socket.socket(socket.AF_UNIX); s.connect('/outside/s'); print(0, flush=True)\n" \
              "while True: time.sleep(100)"
    made = cell.run(["python3", "-c", program], "--volume", f"{directory}:/outside")
    connection, _ = server.accept()
    made.last_tick()
    with server, connection:
        result = cell.by.repo("snap", made, status=None) if cell.by.name == "cprewind" else None
        if result is not None and result.status != 0:
            assert made.state == "running"
            cell.cannot("the other end of the connection is a process outside the container", result.err,
                        "disconnect it before the snap, or do not mount the host's sockets")
        cell.snap(made)
        cell.rewind(made)


def test_names(cell):
    """a container found by name on a user-defined network, before and after"""
    docker("network", "create", "matrix-names")
    try:
        server = cell.witness("--network", "matrix-names", "--network-alias", "oracle")
        client = cell.run(["sleep", "1000"], "--network", "matrix-names")
        resolve = ["getent", "hosts", "oracle"]
        before = client.exec(*resolve)
        cell.there_and_back(server)
        assert client.exec(*resolve) == before
        assert run(["docker", "exec", client.id, "python3", "-c",
                    "import socket; c=socket.create_connection(('oracle',8000)); c.send(b'\\n'); print(c.recv(9))"]).out
    finally:
        cell.clean()
        docker("network", "rm", "matrix-names", status=None)
