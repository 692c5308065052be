"""Volumes and bind mounts: in a snapshot when asked for, put back by a rewind, and otherwise left alone."""

import fcntl
import json
import struct

import pytest

from programs import COUNTER, WRITER, written_in
from support import assert_refused, docker, wait_until

# The writer with its file in a volume, and a file of a bind mount held open.
VOLUME_WRITER = [WRITER[0], WRITER[1], 'guest = open("/shared/guest")\n' + WRITER[2].replace("/data.txt", "/data/log")]


def set_immutable(path, immutable):
    get, put, flag = 0x80086601, 0x40086602, 0x10  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IMMUTABLE_FL
    with open(path) as file:
        (flags,) = struct.unpack("i", fcntl.ioctl(file, get, bytes(4)))
        fcntl.ioctl(file, put, struct.pack("i", flags | flag if immutable else flags & ~flag))


class Scene:
    """A writer into the volume `volume`, with the bind mounts `kept` (captured by name) and `shared` (not)."""

    def __init__(self, container, directory, volume):
        self.volume = volume
        self.kept, self.shared = directory / "kept", directory / "shared"
        self.kept.mkdir()
        self.shared.mkdir()
        (self.kept / "settings").write_text("colour = red\n")
        (self.shared / "guest").write_text("ten bytes\n")
        self.writer = container(VOLUME_WRITER, "--volume", f"{volume}:/data", "--volume", f"{self.kept}:/kept",
                                "--volume", f"{self.shared}:/shared")
        self.wait_for_more("")

    def log(self):
        return written_in(self.writer, "/data/log")

    def wait_for_more(self, before):
        wait_until(lambda: self.log().count("\n") > before.count("\n") + 5, "more lines")

    def change(self):
        (self.kept / "settings").write_text("colour = green\n")
        (self.kept / "new").write_text("new\n")
        (self.shared / "other").write_text("somebody else's\n")
        self.writer.exec("sh", "-c", "echo y >/data/added; mkdir /data/deep; ln /data/added /data/deep/link")

    def snap(self, repo):
        return repo.snap(self.writer, f"--volumes={self.volume},{self.kept}")


@pytest.fixture
def scene(container, directory):
    volume = f"e2e-{directory.name}"
    yield Scene(container, directory, volume)
    docker("rm", "--force", *docker("ps", "--all", "--quiet", "--filter", f"volume={volume}").split(), status=None)
    docker("volume", "rm", volume, status=None)


def test_captured_volumes_are_put_back_with_the_memory_and_others_are_left_alone(repo, scene):
    taken = scene.snap(repo)
    states = {v["destination"]: (v["kind"], v["captured"]) for v in taken["volumes"]}
    assert states == {"/data": ("volume", True), "/kept": ("bind", True), "/shared": ("bind", False)}
    then = scene.log()
    scene.change()
    scene.wait_for_more(then)
    later = scene.log()
    (scene.shared / "other").write_text("somebody else's\n")

    done = repo.rewind(scene.writer, taken["name"])
    assert (scene.kept / "settings").read_text() == "colour = red\n"
    assert not (scene.kept / "new").exists()
    assert (scene.shared / "other").read_text() == "somebody else's\n"
    assert scene.writer.exec("ls", "/data").split() == ["log"]
    # The file in the volume and the memory that wrote it are of one moment, and go on together.
    now = scene.log()
    assert not now.startswith(later)
    scene.wait_for_more(now)
    put_back = {v["destination"]: (v["captured"], v["files_changed"] > 0) for v in done["volumes"]}
    assert put_back == {"/data": (True, True), "/kept": (True, True), "/shared": (False, False)}

    # The safety snapshot has the volumes of before: the rewind can be undone.
    repo.rewind(scene.writer, done["safety"]["name"])
    assert (scene.kept / "settings").read_text() == "colour = green\n"
    assert scene.writer.exec("ls", "/data").split() == ["added", "deep", "log"]
    assert scene.log().startswith(later)
    assert scene.writer.exec("stat", "-c", "%h", "/data/added").strip() == "2"
    repo.assert_clean()


def test_a_rewind_without_volumes_leaves_them_and_says_so(repo, container, directory):
    (directory / "file").write_text("then\n")
    counter = container(COUNTER, "--volume", f"{directory}:/kept", image="busybox")
    counter.wait_for_tick(2)
    text = repo("snap", counter, "--volumes=/kept").out
    assert f"with bind mount {directory}: 1 file, 5 B" in text
    assert f"without bind mount {directory}" in repo("snap", counter).out
    (directory / "file").write_text("now\n")
    text = repo("rewind", counter, "--to", f"{counter}@1", "--no-volumes").out
    assert f"bind mount {directory} at /kept: left as it is" in text
    assert (directory / "file").read_text() == "now\n"
    text = repo("rewind", counter, "--to", f"{counter}@1").out
    assert f"bind mount {directory} at /kept: 1 file put back (5 B)" in text
    assert (directory / "file").read_text() == "then\n"


def test_inspect_and_diff_show_them_and_an_export_keeps_them(repo, scene, directory):
    first = scene.snap(repo)["name"]
    scene.change()
    second = scene.snap(repo)["name"]
    trees = {t["name"]: [f["path"] for f in t["files"]] for t in repo("inspect", first, "files", "--json").json["trees"]}
    assert trees == {f"volume {scene.volume}": ["/", "/log"], f"bind mount {scene.kept}": ["/", "/settings"]}
    assert f"volume {scene.volume} at /data" in repo("inspect", first, "files").out

    def changes(a, b):
        files = repo("diff", a, b, "files", "--json", status=1).json["files"]
        return {v["name"]: {c["path"]: c for c in v["changes"]} for v in files["volumes"]}

    kept = changes(first, second)[f"bind mount {scene.kept}"]
    assert sorted(kept) == ["/new", "/settings"] and kept["/new"]["fate"] == "added"
    assert kept["/settings"]["contents"]["hunks"][0]["lines"] == ["-colour = red", "+colour = green"]
    data = changes(first, second)[f"volume {scene.volume}"]
    assert sorted(data) == ["/added", "/deep", "/deep/link", "/log"]
    assert data["/deep/link"]["hard_link_to"] == "/added"
    text = repo("diff", first, second, "files", status=1).out
    assert f"bind mount {scene.kept}:/settings: content" in text and "+colour = green" in text
    # The present is captured with what the past has of it.
    (scene.kept / "new").unlink()
    assert sorted(changes(second, f"{scene.writer}@now")[f"bind mount {scene.kept}"]) == ["/new"]
    bare = repo.snap(scene.writer)["name"]
    files = repo("diff", second, bare, "files", "--json", status=None).json["files"]
    assert [v["compared"] for v in files["volumes"]] == [False, False]

    archive = directory / "out.tar.zst"
    repo("export", second, "--output", archive)
    repo("rm", second)
    again = repo("import", archive, "--json").json["snapshot"]["name"]
    assert changes(first, again) == {f"bind mount {scene.kept}": kept, f"volume {scene.volume}": data}
    repo.rewind(scene.writer, again)
    assert (scene.kept / "new").exists()


def test_a_rewind_that_fails_leaves_the_volumes_as_they_were(repo, scene):
    taken = scene.snap(repo)
    scene.change()
    before = scene.log()
    # CRIU refuses to open a file of another size than then: the failure comes after the volumes were put back.
    (scene.shared / "guest").write_text("some more than ten bytes\n")
    result = repo("rewind", scene.writer, "--to", taken["name"], status=1)
    assert_refused(result, "where it was before")
    assert (scene.kept / "settings").read_text() == "colour = green\n" and (scene.kept / "new").exists()
    assert scene.writer.exec("ls", "/data").split() == ["added", "deep", "log"]
    now = scene.log()
    assert now.startswith(before)
    scene.wait_for_more(now)
    # And when it is a volume itself that cannot be put back, after others were.
    (scene.shared / "guest").write_text("ten bytes\n")
    locked = scene.kept / "settings"
    set_immutable(locked, True)
    try:
        assert_refused(repo("rewind", scene.writer, "--to", taken["name"], status=1), "immutable", "where it was before")
    finally:
        set_immutable(locked, False)
    assert scene.writer.exec("ls", "/data").split() == ["added", "deep", "log"]
    assert locked.read_text() == "colour = green\n"
    now = scene.log()
    scene.wait_for_more(now)
    repo.assert_clean()


def test_a_stopped_container_gets_its_volumes_back_and_what_it_has_not_is_refused(repo, scene, container):
    taken = scene.snap(repo)
    scene.change()
    assert_refused(repo("snap", scene.writer, "--volumes=nothing", status=2), "no volume or bind mount 'nothing'",
                   scene.volume)
    assert_refused(repo("snap", scene.writer, "--volumes=/shared/guest", status=2), "/shared/guest")
    every = repo.snap(scene.writer, "--volumes")
    assert [v["destination"] for v in every["volumes"] if v["captured"]] == ["/data"]
    neighbour = container(["sleep", "1000"], "--volume", f"{scene.volume}:/there")
    docker("kill", scene.writer.id)
    done = repo.rewind(scene.writer, taken["name"])
    assert done["volumes_also_used_by"] == [neighbour.name]
    assert (scene.kept / "settings").read_text() == "colour = red\n"
    now = scene.log()
    scene.wait_for_more(now)
    whole = container(["sleep", "1000"], "--volume", "/:/host", image="busybox")
    assert_refused(repo("snap", whole, "--volumes=/host", status=1), "lies in it")
    assert json.loads(docker("inspect", whole.id))[0]["State"]["Running"]


def test_sql_track_and_bisect_know_the_files_of_volumes(repo, scene):
    first = scene.snap(repo)["name"]
    scene.change()
    second = scene.snap(repo)["name"]

    def rows(query):
        return repo("sql", query, "--json").json["rows"]

    assert [r["destination"] for r in rows("SELECT DISTINCT destination FROM volumes ORDER BY 1")] == ["/data", "/kept"]
    assert rows("SELECT s.number FROM volume_files f JOIN snapshots s USING (snapshot) WHERE path = 'added'") == [
        {"number": int(second.split("@")[1])}]
    tracked = repo("track", scene.writer, "--file", "/kept/settings", "--json").json
    assert [s["there"] for s in tracked["snapshots"]] == [True, True] and tracked["snapshots"][1]["changed"]
    assert repo("track", scene.writer, "--file", "/data/deep/link", "--json").json["first"] == second
    command = ["sh", "-c", 'grep -q red "$CPREWIND_ANSWERS/volumes/kept/settings" && test ! -e "$CPREWIND_ANSWERS/volumes/data/added"']
    assert repo("bisect", first, second, "--json", "--", *command).json["first_bad"] == second
