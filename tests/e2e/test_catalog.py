"""The catalog: questions in SQL, and its way back when it is lost."""

from programs import COUNTER


def test_sql_answers_across_snapshots(repo, container):
    counter = container(COUNTER, image="busybox")
    for note in ("one", "two"):
        repo.snap(counter, "-m", note)
    rows = repo("sql", "SELECT number, message FROM snapshots ORDER BY number", "--json").json["rows"]
    assert rows == [{"number": 1, "message": "one"}, {"number": 2, "message": "two"}]
    commands = repo("sql", "SELECT DISTINCT command FROM processes WHERE pid = 1", "--json").json["rows"]
    assert commands == [{"command": "sh"}]
    assert "snapshots" in repo("sql").out, "without a query: the tables"


def test_sql_only_reads(repo, container):
    counter = container(COUNTER, image="busybox")
    repo.snap(counter)
    before = repo("log", "--json").out
    for query in ("DELETE FROM snapshots", "DROP TABLE files", "PRAGMA user_version = 9", "ATTACH '/tmp/x' AS x",
                  "SELECT 1; DELETE FROM snapshots", "nonsense", ""):
        result = repo("sql", query, status=2)
        assert result.out == "" and len(result.err.splitlines()) <= 2, query
    assert repo("log", "--json").out == before
    repo.assert_clean()


def test_a_lost_catalog_is_made_again_from_the_packs(repo, container):
    counter = container(COUNTER, image="busybox")
    counter.wait_for_tick(2)
    repo.snap(counter, "-m", "note", "--tag", "kept")
    repo.snap(counter)
    before = repo("log", "--json").json
    for name in ("catalog.db", "catalog.db-wal", "catalog.db-shm"):
        (repo.path / name).unlink(missing_ok=True)
    lost = repo("log", status=1)
    assert "cprewind rebuild" in lost.err
    assert repo("rebuild", "--json").json == {"snapshots": 2, "unreadable": [], "without_rows": []}
    assert repo("log", "--json").json == before
    repo.assert_clean()
    assert repo.rewind(counter, f"{counter}@1")["target"]["message"] == "note"


def test_a_rebuild_leaves_out_what_cannot_be_read_and_names_it(repo, container):
    counter = container(COUNTER, image="busybox")
    repo.snap(counter)
    repo.snap(counter)
    # The second has pages in the first one's pack, but none in that of the second is needed by the first.
    repo.pack_of(f"{counter}@2").write_bytes(b"not a pack")
    result = repo("rebuild", "--json", status=3).json
    assert result["snapshots"] == 1 and len(result["unreadable"]) == 1
    assert repo.names() == [f"{counter}@1"]


def test_rebuild_of_what_is_no_repository_is_refused(repo):
    assert "no repository" in repo("rebuild", status=1).err
