"""Checkpoints of other tools: looked at in place, and imported."""

import pathlib

from support import assert_refused

ARCHIVES = pathlib.Path(__file__).parents[2] / "fixtures/archives"
FIRST, LATER = ARCHIVES / "podman-files.tar.zst", ARCHIVES / "podman-files-later.tar.gz"


def test_an_archive_tells_where_it_is_from_and_what_is_in_it(repo):
    origin = repo("inspect", FIRST, "--json").json["origin"]
    assert (origin["engine"], origin["container_name"], origin["runtime"]) == ("podman", "web", "runc")
    assert {part["what"] for part in origin["parts"]} >= {"volume", "/dev/shm", "container log"}
    answer = repo("inspect", LATER, "files", "--json", status=3).json
    files = {file["path"]: file for file in answer["files"]}
    assert files["/etc/passwd"]["type"] == "whiteout" and files["/newfile"]["sha256"]
    assert [tree["name"] for tree in answer["trees"]] == ["devshm-checkpoint.tar", "volumes/vol1.tar"]
    assert "+more" in repo("diff", FIRST, LATER, "files", status=1).out


def test_imported_archives_are_snapshots_like_any_other(repo):
    first = repo("import", FIRST, "--json").json
    assert first["snapshot"]["name"] == "web@1" and first["snapshot"]["engine"] == "podman"
    assert first["snapshot"]["parent"] is None and first["verified_bytes"] > 0
    repo("import", LATER, status=3)
    assert repo.names() == ["web@1", "web@2"]
    repo.assert_clean()
    for view in ("ps", "fds", "mem", "files"):
        from_archive = repo("inspect", FIRST, view, "--json").json
        stored = repo("inspect", "web@1", view, "--json").json
        for answer in (from_archive, stored):
            for key in ("subject", "trees", "findings"):
                answer.pop(key, None)
        assert from_archive == stored, view
    assert repo("diff", FIRST, "web@1").status == 0
    assert repo("inspect", "web@1", "--json").json["origin"]["container_image"] == "docker.io/library/busybox:latest"
    assert repo("import", FIRST, "--name", "a/b", "--json").json["snapshot"]["name"] == "a_b@1"


def test_what_is_no_checkpoint_is_not_imported(repo, directory):
    assert_refused(repo("import", directory, status=1), str(directory), "no checkpoint")
    assert_refused(repo("import", __file__, status=1), "no tar archive")
