"""What snapshots and checkpoint directories say, against what the kernel says of the same processes."""

import os
import pathlib

import pytest

from programs import COUNTER
from support import assert_refused, docker, run, wait_until

BUSY = ["python3", "-uc", """
import os, socket, subprocess, time
child = subprocess.Popen(["sleep", "1000"])
other = subprocess.Popen(["sh", "-c", "sleep 1001; true", "an argument with spaces", ""])
keep = [open("/zoo", "w"), open("/etc/passwd"), open("/gone", "w+"), socket.socketpair(), os.pipe()]
os.unlink("/gone")
server = socket.socket(); server.bind(("127.0.0.1", 5555)); server.listen()
client = socket.create_connection(("127.0.0.1", 5555)); accepted = server.accept()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("127.0.0.1", 5556))
unix = socket.socket(socket.AF_UNIX); unix.bind("/unix.sock"); unix.listen()
print("ready")
time.sleep(1000)
"""]


@pytest.fixture
def busy(container):
    made = container(BUSY)
    wait_until(lambda: "ready" in made.log_lines(), "the program is ready")
    wait_until(lambda: len(docker("top", made.id, "-o", "pid").split()) == 5, "four processes")
    return made


def host_pids(container):
    return [int(pid) for pid in docker("top", container.id, "-o", "pid").split()[1:]]


def dump(container, directory):
    """A checkpoint made without cprewind: runc's own, of the running container."""
    (state,) = pathlib.Path("/run/docker").glob(f"runtime-*/moby/{container.id}")
    run(["runc", "--root", state.parent, "checkpoint", "--leave-running", "--tcp-established", "--ext-unix-sk",
         "--image-path", directory / "images", "--work-path", directory / "work", container.id])
    return directory / "images"


def pid_inside(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    raise AssertionError(f"process {pid} has no NSpid")


def test_ps_agrees_with_proc_of_the_paused_container(repo, busy):
    docker("pause", busy.id)
    expected = {}
    for pid in host_pids(busy):
        proc = pathlib.Path(f"/proc/{pid}")
        expected[pid_inside(pid)] = ((proc / "comm").read_text().strip(),
                                     (proc / "cmdline").read_bytes().decode().split("\0")[:-1])
    repo.snap(busy)
    rows = repo("inspect", f"{busy}@1", "ps", "--json").json["processes"]
    assert {row["pid"]: (row["comm"], row["arguments"]) for row in rows} == expected
    assert {row["pid"]: row["ppid"] for row in rows}[1] == 0
    assert repo("inspect", f"{busy}@1", "ps").out.splitlines()[1].split()[0] == "1"
    only = repo("inspect", f"{busy}@1", "ps", "--pid", "1", "--json").json["processes"]
    assert [row["pid"] for row in only] == [1]


def test_fds_agree_with_proc_of_the_paused_container(repo, busy):
    docker("pause", busy.id)
    expected = {}
    for pid in host_pids(busy):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            expected[pid_inside(pid), int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
    repo.snap(busy)
    rows = repo("inspect", f"{busy}@1", "fds", "--json").json["fds"]
    found = {(row["pid"], row["fd"]): row for row in rows}
    assert found.keys() == expected.keys() and len(found) == len(rows)
    for key, link in expected.items():
        row = found[key]
        if link.startswith("/"):
            path = row["target"] + (" (deleted)" if row["deleted"] else "")
            assert (row["kind"] in ("file", "ghost file"), path) == (True, link), row
        elif link.startswith("pipe:"):
            assert (row["kind"], row["target"]) == ("pipe", link), row
        else:
            assert link.startswith("socket:") and row["kind"] in ("inet", "unix"), (link, row)
    targets = [row["target"] for row in rows if row["kind"] == "inet"]
    assert sum("127.0.0.1:5555 LISTEN" in target for target in targets) == 1
    assert sum("ESTABLISHED" in target for target in targets) == 2
    assert any("udp 127.0.0.1:5556" in target for target in targets)
    assert any("/unix.sock" in row["target"] for row in rows if row["kind"] == "unix")


# docs/cli.md: every field is always there.
SNAPSHOT = {"id", "name", "number", "kind", "container_id", "container_name", "container_image", "parent", "taken_at",
            "stall_ms", "wall_ms", "message", "message_base64", "tags", "processes", "memory_bytes", "file_bytes",
            "raw_bytes", "stored_bytes", "engine", "criu", "architecture"}
PS = {"pid", "ppid", "depth", "state", "exit_code", "uid", "threads", "comm", "arguments", "arguments_complete",
      "executable", "resident_bytes"}
FDS = {"pid", "comm", "fd", "kind", "target", "flags", "flag_names", "close_on_exec", "position", "size", "deleted", "file_id"}
MEM = {"pid", "comm", "page_size", "mapped_bytes", "dumped_bytes", "pages", "mappings"}
FILES = {"path", "type", "mode", "uid", "gid", "size", "modified", "link_target", "hard_link_to", "sha256"}


def test_json_has_the_documented_fields_and_text_says_the_same(repo, busy):
    snapped = repo("snap", busy, "-m", "a note\n\x1b[31m", "--tag", "e2e-golden", "--json").json["snapshots"]
    assert SNAPSHOT | {"via", "staged_in_memory", "findings"} <= set(snapped[0])
    repo.snap(busy)
    name = f"{busy}@1"

    log = repo("log", busy, "--json").json["snapshots"]
    assert [s["name"] for s in log] == [name, f"{busy}@2"] and all(SNAPSHOT | {"parent_name", "current"} <= set(s) for s in log)
    assert log[1]["parent"] == log[0]["id"] and log[0]["parent"] is None and log[0]["tags"] == ["e2e-golden"]
    text = repo("log").out
    assert name in text and "a note" in text and "e2e-golden" in text and "\x1b" not in text

    overview = repo("inspect", "e2e-golden", "--json").json
    assert {"subject", "snapshot", "overview", "findings"} <= set(overview) and overview["subject"] == name
    assert overview["overview"]["processes"] == len(host_pids(busy)) == log[0]["processes"]
    for view, key, fields in (("ps", "processes", PS), ("fds", "fds", FDS), ("mem", "memory", MEM), ("files", "files", FILES)):
        document = repo("inspect", name, view, "--json").json
        assert document["subject"] == name and document["findings"] == []
        assert document[key] and all(fields <= set(item) for item in document[key])
        assert len(repo("inspect", name, view).out.splitlines()) > len(document[key]) > 0
    assert busy.name in repo("inspect", name).out

    same = repo("diff", name, name, "--json", status=0).json
    assert same["same"] is True and {"a", "b", "processes", "fds", "memory", "files"} <= set(same)
    assert all(same[part]["changes"] == [] for part in ("processes", "fds", "files"))

    verify = repo("verify", "--json").json
    assert verify["clean"] is True and verify["faults"] == [] and verify["snapshots"] == 2 and verify["checked_bytes"] > 0
    assert repo("tag", f"{busy}@2", "e2e-golden", "--json").json["snapshot"]["tags"] == ["e2e-golden"]
    assert repo("inspect", "e2e-golden", "--json").json["subject"] == f"{busy}@2", "a tag moves"
    before = repo.disk_bytes()
    removed = repo("rm", name, "--json").json
    # It may be nothing: of a moment that passed a second before, all pages may live on in the next.
    assert [s["name"] for s in removed["removed"]] == [name] and removed["freed_bytes"] == max(0, before - repo.disk_bytes())
    assert repo.names() == [f"{busy}@2"]
    assert repo.snap(busy)["name"] == f"{busy}@3", "numbers are not used again"
    before = repo.disk_bytes()
    removed = repo("rm", f"{busy}@3", "--json").json
    assert removed["freed_bytes"] == before - repo.disk_bytes() > 0, "nobody draws from the newest"
    repo.assert_clean()


def test_diff_tells_same_different_and_trouble_apart(repo, container):
    counter = container(COUNTER, image="busybox")
    counter.wait_for_tick(1)
    repo.snap(counter)
    counter.exec("sh", "-c", "echo new >/new-file")
    counter.wait_for_tick(10)
    repo.snap(counter)
    a, b = f"{counter}@1", f"{counter}@2"
    assert repo("diff", a, a, status=0).out
    assert "/new-file" in repo("diff", a, b, status=1).out
    different = repo("diff", a, b, "--json", status=1).json
    assert different["same"] is False and any(c["path"] == "/new-file" for c in different["files"]["changes"])
    for view in ("ps", "fds", "files"):
        assert repo("diff", a, a, view, "--json", status=0).json["same"] is True
    assert_refused(repo("diff", a, "/nonexistent", status=2), "/nonexistent")
    assert_refused(repo("diff", a, status=2), "missing")


def test_a_directory_of_images_is_read_without_docker_and_without_root(repo, busy, directory):
    checkpoint = dump(busy, directory)
    run(["chmod", "--recursive", "a+rX", directory])
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    poor = {"DOCKER_HOST": "unix:///run/nobody.sock", "CPREWIND_REPO": "/nonexistent"}
    before = {f.name: f.stat().st_mtime_ns for f in checkpoint.iterdir()}
    rows = repo("inspect", checkpoint, "ps", "--json", prefix=nobody, env=poor).json["processes"]
    assert sorted(row["pid"] for row in rows) == sorted(pid_inside(pid) for pid in host_pids(busy))
    for view in ("overview", "fds", "mem", "files"):
        assert repo("inspect", checkpoint, view, prefix=nobody, env=poor).out
    assert repo("diff", checkpoint, checkpoint, "--json", prefix=nobody, env=poor).json["same"] is True
    assert {f.name: f.stat().st_mtime_ns for f in checkpoint.iterdir()} == before


def test_a_directory_that_holds_no_images_is_refused(repo, directory):
    assert_refused(repo("inspect", directory, status=1), str(directory), "no checkpoint")
    assert_refused(repo("inspect", f"{directory}/none", status=1), f"{directory}/none")


def test_a_damaged_image_is_a_finding_and_the_rest_is_shown(repo, busy, directory):
    checkpoint = dump(busy, directory)
    fdinfo = sorted(checkpoint.glob("fdinfo-*.img"))[0]
    fdinfo.write_bytes(fdinfo.read_bytes()[:-3])
    result = repo("inspect", checkpoint, "ps", "--json", status=3).json
    assert len(result["processes"]) == len(host_pids(busy))
    assert any(f["file"] == fdinfo.name for f in result["findings"])
    assert fdinfo.name in repo("inspect", checkpoint, "--findings", status=3).out
