"""The views against /proc of the same processes, read while the container stands still."""

import os
import pathlib
import re
import socket
import struct

import pytest

from support import docker, run, wait_until
from test_reading import BUSY, host_pids, pid_inside


@pytest.fixture
def still(repo, container):
    """A busy container that is paused, snapped, and what /proc says of each of its processes by pid inside."""
    busy = container(BUSY)
    wait_until(lambda: "ready" in busy.log_lines(), "the program is ready")
    wait_until(lambda: len(host_pids(busy)) == 4, "four processes")
    docker("pause", busy.id)
    procs = {pid_inside(pid): pathlib.Path(f"/proc/{pid}") for pid in host_pids(busy)}
    repo.snap(busy)
    return busy, procs


def view(repo, container, name):
    return repo("inspect", f"{container}@1", name, "--json", status=None).json


def status_of(proc):
    lines = (proc / "status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def addresses(table, length):
    """(local, remote, state) of every socket of /proc/PID/net/tcp and the like."""
    out = set()
    for line in table.read_text().splitlines()[1:]:
        fields = line.split()
        ends = []
        for end in fields[1:3]:
            host, port = end.split(":")
            words = b"".join(struct.pack("=I", int(host[i:i + 8], 16)) for i in range(0, len(host), 8))
            ends.append(f"{socket.inet_ntop(socket.AF_INET, words)}:{int(port, 16)}")
        out.add((*ends, int(fields[3], 16)))
    assert all(len(entry) == length for entry in out)
    return out


def test_ps_and_creds_agree_with_proc(repo, still):
    busy, procs = still
    rows = {row["pid"]: row for row in view(repo, busy, "ps")["processes"]}
    rights = {row["pid"]: row for row in view(repo, busy, "creds")["credentials"]}
    assert rows.keys() == procs.keys() == rights.keys()
    for pid, proc in procs.items():
        status, row, right = status_of(proc), rows[pid], rights[pid]
        assert row["comm"] == status["Name"] and row["threads"] == int(status["Threads"])
        assert row["cwd"] == os.readlink(proc / "cwd") and row["executable"] == os.readlink(proc / "exe")
        assert int(row["umask"], 8) == int(status["Umask"], 8)
        uids = [right["uid"][kind] for kind in ("real", "effective", "saved", "filesystem")]
        assert uids == [int(uid) for uid in status["Uid"].split()]
        assert right["no_new_privs"] == (status["NoNewPrivs"] == "1")
        assert {"disabled": 0, "strict": 1, "filter": 2}[right["seccomp"] or "disabled"] == int(status["Seccomp"])
        for kind, field in (("effective", "CapEff"), ("bounding", "CapBnd"), ("permitted", "CapPrm")):
            assert len(right["capabilities"][kind]) == int(status[field], 16).bit_count()


def test_fds_agree_with_proc_in_position_and_flags(repo, still):
    busy, procs = still
    rows = {(row["pid"], row["fd"]): row for row in view(repo, busy, "fds")["fds"]}
    for pid, proc in procs.items():
        for fd in os.listdir(proc / "fd"):
            info = dict(line.split(":\t") for line in (proc / "fdinfo" / fd).read_text().splitlines() if ":\t" in line)
            row = rows[pid, int(fd)]
            assert row["close_on_exec"] == bool(int(info["flags"], 8) & os.O_CLOEXEC)
            assert row["flags"] & 3 == int(info["flags"], 8) & 3
            if row["kind"] == "file":
                assert row["position"] == int(info["pos"])


def test_mem_agrees_with_proc_maps(repo, still):
    busy, procs = still
    for process in view(repo, busy, "mem")["memory"]:
        lines = (procs[process["pid"]] / "maps").read_text().splitlines()
        live = []
        for line in lines:
            bounds, protection, *rest = line.split(None, 5)
            start, end = (int(part, 16) for part in bounds.split("-"))
            name = rest[3] if len(rest) > 3 else ""
            if name == "[vvar_vclock]":  # Linux 6.13 shows it apart; CRIU dumps it as one with [vvar]
                live[-1] = (live[-1][0], end, *live[-1][2:])
            elif name != "[vsyscall]":
                live.append((start, end, protection, name if name.startswith("/") else ""))
        ours = [(int(m["start"], 16), int(m["end"], 16), m["protection"], m["path"] if m["path"].startswith("/") else "")
                for m in process["mappings"] if m["kind"] != "vsyscall"]
        assert ours == live


def test_env_agrees_with_proc_environ(repo, still):
    busy, procs = still
    for process in view(repo, busy, "env")["environments"]:
        live = (procs[process["pid"]] / "environ").read_bytes().decode().split("\0")[:-1]
        assert process["complete"] and process["variables"] == live


def test_sockets_agree_with_proc_net(repo, still):
    busy, procs = still
    rows = view(repo, busy, "sockets")["sockets"]
    states = {"ESTABLISHED": 1, "LISTEN": 10, "CLOSE": 7}
    ours = {(row["local"], row["remote"] or "0.0.0.0:0", states[row["state"]])
            for row in rows if row["protocol"] == "tcp" and row["family"] == "inet"}
    # Docker's own resolver listens there, from outside of the container.
    live = {entry for entry in addresses(procs[1] / "net" / "tcp", 3) if not entry[0].startswith("127.0.0.11:")}
    assert ours == live
    names = {row["local"] for row in rows if row["protocol"] == "unix" and row["local"]}
    listed = {line.split()[-1] for line in (procs[1] / "net" / "unix").read_text().splitlines()[1:] if len(line.split()) > 7}
    assert names == {name for name in listed if name}


def test_limits_signals_and_threads_agree_with_proc(repo, still):
    busy, procs = still
    threads = view(repo, busy, "threads")["threads"]
    assert {(row["pid"], row["tid"]) for row in threads} == {
        (pid, int(status_of(task)["NSpid"].split()[-1])) for pid, proc in procs.items() for task in (proc / "task").iterdir()}
    for process in view(repo, busy, "signals")["signals"]:
        status = status_of(procs[process["pid"]])
        caught = {action["number"] for action in process["actions"] if action["handler"].startswith("0x")}
        assert caught == {n + 1 for n in range(64) if int(status["SigCgt"], 16) >> n & 1}
        ignored = {action["number"] for action in process["actions"] if action["handler"] == "ignored"}
        assert ignored == {n + 1 for n in range(64) if int(status["SigIgn"], 16) >> n & 1}
        assert int(process["threads"][0]["blocked_mask"], 16) == int(status["SigBlk"], 16)
    limits = {(row["pid"], row["limit"]): row for row in view(repo, busy, "limits")["limits"]}
    for pid, proc in procs.items():
        (line,) = re.findall(r"Max open files\s+(\S+)\s+(\S+)", (proc / "limits").read_text())
        row = limits[pid, "NOFILE"]
        assert tuple("unlimited" if row[kind] is None else str(row[kind]) for kind in ("soft", "hard")) == line


def test_artifacts_and_report_of_a_snapshot(repo, still, tmp_path):
    busy, _ = still
    found = repo("artifacts", f"{busy}@1", "--extract", tmp_path / "out", "--json", status=None).json["artifacts"]
    assert any(a["kind"] == "deleted file" and a["name"] == "/gone" for a in found)
    assert all((tmp_path / "out" / a["id"]).exists() for a in found)
    report = repo("report", f"{busy}@1", "--json", status=None).json
    listeners = [o for o in report["oddities"] if o["kind"] == "unexpected-listener"]
    assert any("127.0.0.1:5555" in o["what"] for o in listeners)
    repo("report", f"{busy}@1", "--html", tmp_path / "page.html", status=None)
    page = (tmp_path / "page.html").read_text()
    assert "src=" not in page and "http" not in page.replace("http-equiv", "").split('id="data"')[0]


def test_sql_asks_sockets_and_environment_across_snapshots(repo, still):
    busy, _ = still
    rows = repo("sql", "SELECT DISTINCT container, number FROM sockets JOIN snapshots USING (snapshot) "
                "WHERE state = 'LISTEN' AND local_port = 5555", "--json").json["rows"]
    assert rows == [{"container": busy.name, "number": 1}]
    assert repo("sql", "SELECT value FROM env WHERE name = 'PATH' AND pid = 1", "--json").json["rows"]
    out = repo("sql", "--csv", "SELECT 'a,b' AS x, 1 AS y").out
    assert out.splitlines() == ["x,y", '"a,b",1']


def test_extraction_never_leaves_its_directory(repo, still, tmp_path):
    busy, _ = still
    out = tmp_path / "out"
    out.mkdir()
    first = repo("artifacts", f"{busy}@1", "--json", status=None).json["artifacts"][0]["id"]
    (tmp_path / "victim").write_text("untouched")
    (out / first).symlink_to(tmp_path / "victim")
    run([*map(str, (os.environ["CPREWIND_BIN"] + "/cprewind", "artifacts", f"{busy}@1", "--extract", out, first))],
        status=1, env={"CPREWIND_REPO": str(repo.path)})
    assert (tmp_path / "victim").read_text() == "untouched"
