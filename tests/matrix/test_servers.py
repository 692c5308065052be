"""Servers and databases."""

import hashlib
import sqlite3
import urllib.request

import pytest

from support import docker, wait_until
from test_rewind import Redis

# Rows hold a digest over all before them that only memory knows, so that a database and a memory of different moments
# betray themselves. The connection stays open: locks, WAL and the shared -shm file are in use all the time.
SQLITE_WRITER = """
import hashlib, os, sqlite3, time
base = sqlite3.connect("/base.db", isolation_level=None)
base.execute("pragma journal_mode=wal"); base.execute("pragma wal_autocheckpoint=50")
base.execute("create table t (n integer primary key, value text, digest text)")
memory = hashlib.sha256(); number = 0
while True:
    number += 1; value = os.urandom(8).hex(); memory.update(value.encode())
    base.execute("insert into t values (?,?,?)", (number, value, memory.hexdigest()))
    print(number, flush=True); time.sleep(0.02)
"""


def page(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/page", timeout=10) as answer:
        return answer.read().decode()


def answers(port):
    try:
        return bool(page(port))
    except OSError:
        return False


def web(cell, command, port):
    server = cell.run(["sh", "-c", f"mkdir -p /srv; echo old >/srv/page; {command}"], "--publish", f"{port}:80")
    wait_until(lambda: answers(port), "the server answers on its published port")
    assert page(port) == "old\n"
    cell.snap(server)
    server.exec("sh", "-c", "echo new >/srv/page; echo more >/srv/more")
    assert page(port) == "new\n"
    cell.rewind(server)
    assert page(port) == "old\n"
    server.exec("ls", "/srv/more", status=2)
    assert docker("port", server.name, "80").splitlines()[0].endswith(f":{port}")
    return server


def test_http(cell):
    """python's http server behind a published port, a client before and after"""
    web(cell, "exec python3 -m http.server 80 --directory /srv", 7501)


def test_nginx(cell):
    """nginx as root, master and two workers, behind a published port"""
    server = web(cell, "echo 'user root; worker_processes 2; daemon off; events {} http { access_log /var/log/nginx/a.log; "
                       "server { listen 80; root /srv; } }' >/n.conf; exec nginx -c /n.conf", 7502)
    server.exec("nginx", "-c", "/n.conf", "-s", "reload")
    assert page(7502) == "old\n"


@pytest.mark.parametrize("aof", ["without", "with"])
def test_redis(cell, aof):
    """redis {aof} its append-only file"""
    options = ["--appendonly", "yes", "--dir", "/var/lib/redis"] if aof == "with" else []
    server = cell.run(["redis-server", "--save", "", "--protected-mode", "no", *options], "--publish", "7503:6379")
    redis = Redis(7503)
    wait_until(redis.answers, "redis answers")
    redis("SET", "colour", "blue")
    cell.snap(server)
    redis("SET", "colour", "red")
    for number in range(100):
        redis("SET", f"later{number}", "x" * 500)
    cell.rewind(server)
    assert redis("GET", "colour") == "blue" and redis("DBSIZE") == ":1"
    if aof == "with":
        redis("SET", "shape", "round")
        docker("restart", "--time", "5", server.id)
        wait_until(redis.answers, "redis answers after a restart")
        assert (redis("GET", "colour"), redis("GET", "shape"), redis("DBSIZE")) == ("blue", "round", ":2")


def test_sqlite(cell, directory):
    """an SQLite writer in WAL mode"""
    writer = cell.run(["python3", "-c", SQLITE_WRITER])
    writer.wait_for_tick(60)
    cell.snap(writer)
    most = writer.last_tick() + 1
    writer.wait_for_tick(most + 60)
    cell.rewind(writer)
    wait_until(writer.jumps, "it counts on from the snapshot")
    writer.wait_for_tick(writer.last_tick() + 20)
    back = writer.jumps()
    assert len(back) == 1 and 60 < back[0][1] <= most + 1
    docker("stop", "--time", "1", writer.id)
    for name in ("base.db", "base.db-wal"):
        docker("cp", f"{writer.id}:/{name}", str(directory / name))
    rows = sqlite3.connect(directory / "base.db").execute("select n, value, digest from t order by n").fetchall()
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1)) and len(rows) >= back[0][1] + 20
    memory = hashlib.sha256()
    for number, value, digest in rows:
        memory.update(value.encode())
        assert digest == memory.hexdigest(), f"row {number}: memory and file disagree"
