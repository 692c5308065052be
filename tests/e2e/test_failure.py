"""What cannot work is found out before the container is touched, or undone."""

import pytest

from programs import COUNTER, WRITER_WITH_GUEST, written
from support import Untouched, assert_refused, plans, wait_until


def test_a_rewind_whose_restore_fails_brings_the_container_back_as_it_was(repo, container, directory):
    guest = directory / "guest"
    guest.write_text("ten bytes\n")
    writer = container(WRITER_WITH_GUEST, "--volume", f"{directory}:/shared")
    wait_until(lambda: written(writer).count("\n") >= 10, "ten lines")
    repo.snap(writer)
    target = written(writer)
    # A bind mount is not part of a snapshot, and CRIU refuses to open a file of another size than then.
    guest.write_text("some more than ten bytes\n")
    before = written(writer)
    started = writer.inspect("{{.RestartCount}}")
    result = repo("rewind", writer, "--to", f"{writer}@1", status=1)
    assert_refused(result)
    assert "shared/guest" in result.err and "size" in result.err, result.err
    assert "as it was" in result.err or "where it was before" in result.err, result.err
    assert writer.state == "running"
    after = written(writer)
    assert after.startswith(before), "memory and file of before"
    wait_until(lambda: len(written(writer)) > len(after), "the program writes on")
    assert writer.inspect("{{.RestartCount}}") == started
    repo.assert_clean()
    assert plans() == []
    safety = repo("log", writer, "--json").json["snapshots"][-1]
    assert safety["kind"] == "safety" and f"{writer}@1" in safety["message"]

    guest.write_text("ten bytes\n")
    repo.rewind(writer, f"{writer}@1")
    assert not written(writer).startswith(before)
    assert written(writer).startswith(target[:200])


@pytest.mark.parametrize("place", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_a_flipped_byte_is_found_by_verify_and_by_rewind_before_the_container_is_touched(repo, container, place):
    counter = container(COUNTER, image="busybox")
    counter.wait_for_tick(2)
    repo.snap(counter)
    pack = repo.pack_of(f"{counter}@1")
    content = bytearray(pack.read_bytes())
    content[int(len(content) * place)] ^= 0x40
    pack.chmod(0o600)
    pack.write_bytes(content)
    with Untouched(counter):
        result = repo("rewind", counter, "--to", f"{counter}@1", status=1)
        assert result.out == "" and f"{counter}@1" in result.err, result
    faults = repo("verify", "--json", status=3).json
    assert not faults["clean"]
    assert any(f["snapshot"] == f"{counter}@1" or f"{counter}@1" in f["message"] or pack.name in f["message"]
               for f in faults["faults"]), faults
    assert "damaged" in repo("verify", status=3).out
