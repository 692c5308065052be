"""The repository as its keeper sees it: prune, export and import, two at once."""

import shutil

from programs import COUNTER
from support import Repository, Untouched, assert_refused, run, wait_until


def log(repo):
    return repo("log", "--json").json["snapshots"]


def test_prune_dry_run_tells_what_would_go_and_changes_nothing(repo, container):
    counter = container(COUNTER, image="busybox")
    for _ in range(3):
        repo.snap(counter)
    before = repo("log", "--json").out, sorted(path.name for path in (repo.path / "packs").iterdir())
    told = repo("prune", counter, "--keep-last", "1", "--dry-run", "--json").json
    assert [one["name"] for one in told["snapshots"] if not one["stays"]] == [f"{counter}@1", f"{counter}@2"]
    assert (repo("log", "--json").out, sorted(path.name for path in (repo.path / "packs").iterdir())) == before
    done = repo("prune", counter, "--keep-last", "1", "--json").json
    assert done["removed"] == 2 and repo.names() == [f"{counter}@3"]
    repo.assert_clean()
    repo.rewind(counter, f"{counter}@3")


def test_prune_without_a_rule_is_refused(repo, container):
    counter = container(COUNTER, image="busybox")
    repo.snap(counter)
    assert "rule" in repo("prune", status=2).err
    assert repo.names() == [f"{counter}@1"]


def test_prune_while_a_snapshot_is_being_taken_harms_neither(repo, container):
    counter = container(COUNTER, image="busybox")
    for _ in range(3):
        repo.snap(counter)
    snap = repo.start("snap", counter)
    repo("prune", counter, "--keep-last", "1")
    assert snap.wait() == 0
    repo.snap(counter)
    repo.assert_clean()
    repo.rewind(counter, f"{counter}@latest")


def test_an_export_of_one_repository_is_imported_by_another_and_rewound_to(repo, container, directory):
    counter = container(COUNTER, image="busybox")
    counter.wait_for_tick(2)
    first = repo.snap(counter, "-m", "note")
    second = repo.snap(counter)
    for name in (first["name"], second["name"]):
        repo("export", name, "-o", directory / f"{name}.tar.zst")
    # Checked and read without cprewind.
    run(["sh", "-c", f"mkdir plain && tar --zstd -xf {first['name']}.tar.zst -C plain && cd plain && "
                     "sha256sum --quiet -c digests.sha256"], cwd=directory)
    other = Repository(directory / "other")
    for name in (first["name"], second["name"]):
        assert other("import", directory / f"{name}.tar.zst", "--json").json["was_there"] is False
    assert other("import", directory / f"{first['name']}.tar.zst", "--json").json["was_there"] is True
    assert [one["taken_at"] for one in log(other)] == [first["taken_at"], second["taken_at"]]
    assert log(other)[1]["parent_name"] == f"{counter}@1"
    for view in ("ps", "fds", "mem", "files"):
        ours, theirs = (r("inspect", f"{counter}@1", view, "--json").json for r in (repo, other))
        assert ours == theirs
    other.assert_clean()
    assert other.rewind(counter, f"{counter}@1")["target"]["message"] == "note"


def test_an_export_that_was_cut_or_changed_is_refused_and_leaves_nothing(repo, container, directory):
    counter = container(COUNTER, image="busybox")
    repo.snap(counter)
    good = directory / "good"
    repo("export", f"{counter}@1", "-o", good)
    assert "exists already" in repo("export", f"{counter}@1", "-o", good, status=1).err
    content = good.read_bytes()
    other = Repository(directory / "other")
    for at in range(1, 8):
        (directory / "cut").write_bytes(content[: len(content) * at // 8])
        assert other("import", directory / "cut", status=1).out == ""
        changed = bytearray(content)
        changed[len(content) * at // 8] ^= 4
        (directory / "changed").write_bytes(changed)
        assert other("import", directory / "changed", status=1).out == ""
    assert not other.path.exists() or other.names() == []
    assert sorted(path.name for path in directory.iterdir() if path.suffix == ".part") == []


def test_two_containers_are_snapped_at_once(repo, container):
    first, second = container(COUNTER, image="busybox"), container(COUNTER, image="busybox")
    running = [repo.start("snap", one) for one in (first, second)]
    assert [one.wait() for one in running] == [0, 0]
    assert sorted(repo.names()) == sorted([f"{first}@1", f"{second}@1"])
    repo.assert_clean()


def test_a_lost_catalog_is_rebuilt_to_the_same_log_after_a_prune(repo, container):
    counter = container(COUNTER, image="busybox")
    for _ in range(4):
        repo.snap(counter)
    repo("prune", "--keep-last", "2")
    before = log(repo)
    for name in ("catalog.db", "catalog.db-wal", "catalog.db-shm"):
        (repo.path / name).unlink(missing_ok=True)
    repo("rebuild")
    assert log(repo) == before
    repo.assert_clean()


def test_verify_says_what_it_did_not_read_and_salvage_names_what_is_lost(repo, container):
    counter = container(COUNTER, image="busybox")
    repo.snap(counter)
    whole = repo("verify", "--structure").out
    assert "not read" in whole
    pack = repo.pack_of(f"{counter}@1")
    content = bytearray(pack.read_bytes())
    content[100] ^= 1
    pack.write_bytes(content)
    assert repo("verify", "--structure", "--json").json["data_read"] is False
    for words in ((), ("--data",)):
        assert f"{counter}@1" in repo("verify", *words, status=3).out
    salvaged = repo("verify", "--salvage", "--json", status=3).json
    assert salvaged["whole"] == 0 and salvaged["snapshots"][0]["lost_files"]
    assert 0 < len(salvaged["snapshots"][0]["lost_files"]) < salvaged["snapshots"][0]["files"]


def test_a_lost_pack_costs_the_others_what_lies_in_it_until_it_is_back(repo, container):
    first = container(COUNTER, image="busybox")
    # Of two threads, which a counter never has: else both may have the same pstree.img, which then lies in the lost pack.
    second = container(["python3", "-c", "import threading, time\n"
                        "threading.Thread(target=time.sleep, args=(1000,)).start()\ntime.sleep(1000)"])
    wait_until(lambda: len(second.exec("ls", "/proc/1/task").split()) == 2, "both threads sleep")
    repo.snap(first)
    name = repo.snap(second)["name"]
    pack = repo.pack_of(f"{first}@1")
    whole = pack.read_bytes()
    pack.write_bytes(whole[: len(whole) // 2])
    lost = next(one for one in repo("verify", "--salvage", "--json", status=3).json["snapshots"]
                if one["snapshot"] == name)
    assert 0 < len(lost["lost_files"]) < lost["files"] and pack.stem[:12] in lost["why"]
    shown = repo("inspect", name, "ps", "--json", status=3).json
    assert [one["comm"] for one in shown["processes"] if one["pid"] == 1] == ["python3"]
    assert any(pack.stem[:12] in one["message"] for one in shown["findings"])
    with Untouched(second):
        assert_refused(repo("rewind", second, "--to", name, status=1), pack.stem[:12])
    told = repo("rebuild", "--json", status=3).json
    assert told["snapshots"] == 1 and len(told["unreadable"]) == 1
    repo.snap(second)
    repo.rewind(second, f"{second}@latest")
    pack.write_bytes(whole)
    assert repo("rebuild", "--json").json["unreadable"] == []
    repo.assert_clean()
    repo.rewind(first, f"{first}@1")


def test_log_sizes_tell_own_and_shared(repo, container):
    counter = container(COUNTER, image="busybox")
    repo.snap(counter)
    alone = repo("log", "--sizes", "--json").json["snapshots"][0]
    assert alone["shared_bytes"] == 0 and alone["unique_bytes"] > 0
    repo.snap(counter)
    first, second = repo("log", "--sizes", "--json").json["snapshots"]
    assert first["shared_bytes"] == second["shared_bytes"] > 0
    repo("rm", second["name"])
    shutil.copytree(repo.path, repo.path.with_name("copy"))
    assert repo("log", "--sizes", "--json").json["snapshots"][0]["unique_bytes"] == alone["unique_bytes"]
