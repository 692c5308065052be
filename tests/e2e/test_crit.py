"""decode is crit's decode, and encode undoes it, on every image of every fixture."""

import json
import pathlib
import subprocess

import pytest

import pycriu
from support import CPREWIND, run

FIXTURES = pathlib.Path(__file__).parents[2] / "fixtures"
RAW = ("pages-", "tmpfs-", "iptables", "ip6tables", "nftables", "route", "rule-", "ifaddr-", "netns-ct", "netns-exp")
IMAGES = sorted(p for p in FIXTURES.rglob("*") if p.suffix == ".img" or p.name.startswith("stats-"))
IMAGES = [p for p in IMAGES if not p.name.startswith(RAW)]


def expected(path):
    with open(path, "rb") as image:
        return json.loads(json.dumps(pycriu.images.load(image)))


def without_padding(image):
    """The only key of ours that these images need: crit loses bytes that CRIU did not clear."""
    for entry in image["entries"]:
        entry.pop("padding", None)
    return image


@pytest.fixture(scope="module", autouse=True)
def enough():
    assert len({p.parent for p in IMAGES}) > 30 and len(IMAGES) > 300


@pytest.mark.parametrize("path", IMAGES, ids=lambda p: str(p.relative_to(FIXTURES)))
def test_decode_prints_the_value_that_crit_prints_and_encode_makes_the_same_bytes(path, tmp_path):
    text = run([CPREWIND, "decode", path]).out
    assert without_padding(json.loads(text)) == expected(path)
    (tmp_path / "image.json").write_text(text)
    run([CPREWIND, "encode", tmp_path / "image.json", "-o", tmp_path / "image.img"])
    assert (tmp_path / "image.img").read_bytes() == path.read_bytes()


def test_encode_reads_what_crit_printed(tmp_path):
    path = FIXTURES / "counter" / "core-1.img"
    text = subprocess.run(["crit", "decode", "-i", path], stdout=subprocess.PIPE, check=True).stdout
    (tmp_path / "core.json").write_bytes(text)
    run([CPREWIND, "encode", tmp_path / "core.json", "-o", tmp_path / "core.img"])
    assert (tmp_path / "core.img").read_bytes() == path.read_bytes()


def pretty(path):
    """What crit shows, with the states named right: crit 4.2.1 has two the wrong way round and lacks one."""
    with open(path, "rb") as image:
        shown = json.loads(json.dumps(pycriu.images.load(image, True)))
    for entry in shown["entries"]:
        task = entry.get("tc", {})
        if "task_state" in task:
            task["task_state"] = {"Zombie": "Stopped", "Stopped": "Zombie", 2: "Dead"}.get(*[task["task_state"]] * 2)
    return shown


@pytest.mark.parametrize("path", IMAGES, ids=lambda p: str(p.relative_to(FIXTURES)))
def test_decode_pretty_shows_what_crit_shows_and_encode_reads_it(path, tmp_path):
    text = run([CPREWIND, "decode", "--pretty", path]).out
    assert without_padding(json.loads(text)) == pretty(path)
    (tmp_path / "image.json").write_text(text)
    run([CPREWIND, "encode", tmp_path / "image.json", "-o", tmp_path / "image.img"])
    assert (tmp_path / "image.img").read_bytes() == path.read_bytes()
