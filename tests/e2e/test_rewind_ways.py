"""rewind --dry-run, the look afterwards, and --recreate."""

import json
import pathlib
import socket
import time

import pytest

from programs import WRITER, written
from support import Container, Untouched, assert_refused, docker, run, wait_until

SERVER = ["python3", "-uc", """
import socket, threading
listener = socket.create_server(("0.0.0.0", 9000))
while True:
    client, _ = listener.accept()
    threading.Thread(target=client.recv, args=(1,), daemon=True).start()
"""]


def test_a_dry_run_tells_what_would_happen_and_touches_nothing(repo, container):
    server = container(SERVER)
    wait_until(lambda: server.exec("python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 9000))",
                                   status=None) is not None, "it listens")
    server.exec("sh", "-c", "echo one >/kept; echo two >/gone-later")
    repo.snap(server)
    server.exec("sh", "-c", "echo changed >>/kept; rm /gone-later; echo three >/new")
    with socket.create_connection((server.address, 9000)):
        time.sleep(0.2)
        with Untouched(server):
            plan = repo("rewind", server, "--to", f"{server}@1", "--dry-run", "--json").json
            text = repo("rewind", server, "--to", f"{server}@1", "--dry-run").out
    assert plan["dry_run"] is True and plan["takes_safety"] is True and plan["recreates"] is False
    assert [p["inside_pid"] for p in plan["killed"]] == [1] and "python3" in plan["killed"][0]["arguments"]
    changes = {f["path"]: (f["change"], f["written_bytes"]) for f in plan["files"]}
    assert changes["kept"] == ("replace", 4)
    assert changes["gone-later"] == ("create", 4)
    assert changes["new"][0] == "remove"
    assert any(c["local"].endswith(":9000") and c["state"] == "ESTABLISHED" for c in plan["connections_closing"])
    assert len(plan["come_back"]) == 1
    for word in ("1 process is killed", "put back", "/new", "TCP connection", "nothing was touched"):
        assert word in text, text
    # The plan is kept to. The dump of what is there now, before the kill, adds the time of /tmp: CRIU makes a
    # directory there and removes it.
    assert "tmp" not in changes
    assert repo.rewind(server, f"{server}@1")["files_changed"] == plan["files_changed"] + 1


def test_a_rewind_is_compared_with_the_snapshot(repo, container):
    writer = container(WRITER)
    wait_until(lambda: written(writer).count("\n") >= 20, "the program writes")
    repo.snap(writer)
    verified = repo.rewind(writer, f"{writer}@1")["verified"]
    assert (verified["processes"], verified["same"], verified["ended_since"]) == (1, 1, 0)
    assert verified["sampled_pages"] > 32
    assert repo.rewind(writer, f"{writer}@1", "--no-verify")["verified"] is None


@pytest.fixture
def saboteur(container):
    """A runc that, once, changes a read-only page of what it has restored: a wrong restore."""
    place = pathlib.Path("/usr/local/sbin/runc")
    mark = pathlib.Path("/run/cprewind-saboteur")
    place.write_text(f"""#!/usr/bin/python3
import os, subprocess, sys
status = subprocess.call(["/usr/bin/runc" if os.path.exists("/usr/bin/runc") else "/usr/sbin/runc", *sys.argv[1:]])
if status == 0 and "restore" in sys.argv and os.path.exists("{mark}"):
    os.unlink("{mark}")
    pid = open(sys.argv[sys.argv.index("--pid-file") + 1]).read()
    lines = [line.split() for line in open(f"/proc/{{pid}}/maps")]
    # The last of them has the pages that ld.so has written before it took the right to: they are in the dump. The one
    # before it, of constants, is not.
    words = [w for w in lines if len(w) > 5 and w[1] == "r--p" and "libc.so" in w[5]][-1]
    start, end = (int(address, 16) for address in words[0].split("-"))
    memory = os.open(f"/proc/{{pid}}/mem", os.O_RDWR)
    for page in range(start, end, 4096):
        os.pwrite(memory, b"sabotage", page + 2048)
sys.exit(status)
""")
    place.chmod(0o755)
    yield mark
    place.unlink()
    mark.unlink(missing_ok=True)


def test_a_restore_that_comes_out_wrong_is_noticed_and_undone(repo, container, saboteur):
    writer = container(WRITER)
    wait_until(lambda: written(writer).count("\n") >= 20, "the program writes")
    repo.snap(writer)
    before = written(writer)
    saboteur.touch()
    result = repo("rewind", writer, "--to", f"{writer}@1", status=1)
    assert not saboteur.exists(), "the saboteur was not asked"
    for word in ("not what the snapshot holds", "read-only pages", "runs again exactly where it was"):
        assert word in result.err, repr(result)
    assert writer.state == "running" and written(writer).startswith(before)
    saboteur.touch()
    repo.rewind(writer, f"{writer}@1", "--no-verify")


def described(container):
    raw = json.loads(docker("inspect", container))[0]
    host = raw["HostConfig"]
    return {"image": raw["Config"]["Image"], "env": raw["Config"]["Env"], "labels": {
                k: v for k, v in raw["Config"]["Labels"].items() if not k.startswith("cprewind.")},
            "hostname": raw["Config"]["Hostname"], "cmd": raw["Config"]["Cmd"], "memory": host["Memory"],
            "pids": host["PidsLimit"], "restart": host["RestartPolicy"], "caps": host["CapDrop"],
            "security": host["SecurityOpt"], "ports": host["PortBindings"], "ulimits": host["Ulimits"],
            "health": raw["Config"].get("Healthcheck"),
            "mounts": sorted((m["Type"], m.get("Name", m["Source"]), m["Destination"], m["RW"]) for m in raw["Mounts"]),
            "networks": sorted(raw["NetworkSettings"]["Networks"])}


@pytest.mark.parametrize("published", [False, True])
def test_a_container_of_plain_runc_is_recreated_when_one_asks_for_it(repo, container, published):
    docker("network", "create", "e2enet", status=None)
    options = ["--network", "e2enet", "--label", "a=b", "--env", "X=1", "--restart", "on-failure:3", "--cap-drop",
               "NET_RAW", "--ulimit", "nofile=512:512", "--pids-limit", "64", "--hostname", "kept",
               "--volume", "e2evolume:/named", "--volume", "/anonymous", "--health-cmd", "true"]
    if published:
        options += ["--publish", "127.0.0.1:18431:9000"]
    writer = container(WRITER, *options, runtime="runc")
    try:
        wait_until(lambda: written(writer).count("\n") >= 20, "the program writes")
        repo.snap(writer)
        target = written(writer)
        time.sleep(0.5)
        before = described(writer.id)
        with Untouched(writer):
            assert_refused(repo("rewind", writer, "--to", f"{writer}@1", status=1), "runc", "--recreate")
        plan = repo("rewind", writer, "--to", f"{writer}@1", "--recreate", "--dry-run", "--json").json
        assert plan["recreates"] is True
        result = repo.rewind(writer, f"{writer}@1", "--recreate")
        assert result["recreated"] is True and result["backup_name"] is None and result["verified"]["same"] == 1
        new = Container(str(writer), docker("inspect", "--format", "{{.Id}}", str(writer)))
        assert new.id != writer.id and new.inspect("{{.HostConfig.Runtime}}") == "cprewind"
        assert described(new.id) == before
        assert run(["docker", "inspect", writer.id], status=None).status != 0, "the old one is gone"
        text = written(new)
        assert text.count("\n") > 0 and text[:200] == target[:200]
        wait_until(lambda: len(written(new)) > len(text), "the program writes on")
        # The snapshots of the old one are its own, and from now on it is done in place.
        again = repo.rewind(new, f"{writer}@1")
        assert again["recreated"] is False
        docker("rm", "--force", "--volumes", new.id)
    finally:
        docker("rm", "--force", str(writer), status=None)
        docker("volume", "rm", "e2evolume", status=None)
        docker("network", "rm", "e2enet", status=None)


@pytest.mark.parametrize("published", [False, True])
def test_a_recreation_that_fails_puts_the_old_one_back(repo, container, saboteur, published):
    writer = container(WRITER, *(["--publish", "127.0.0.1:18432:9000"] if published else []), runtime="runc")
    wait_until(lambda: written(writer).count("\n") >= 20, "the program writes")
    repo.snap(writer)
    before = written(writer)
    pid = writer.pid
    saboteur.touch()
    try:
        result = repo("rewind", writer, "--to", f"{writer}@1", "--recreate", status=1)
        assert "runs again exactly where it was" in result.err, repr(result)
        now = Container(str(writer), docker("inspect", "--format", "{{.Id}}", str(writer)))
        assert now.state == "running" and written(now).startswith(before)
        # One that nothing stood in the way of was merely frozen.
        assert (now.pid == pid) is not published
        assert docker("ps", "--all", "--format", "{{.Names}}", "--filter", "name=before-rewind") == ""
    finally:
        docker("rm", "--force", str(writer), status=None)
