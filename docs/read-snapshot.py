#!/usr/bin/env python3
"""Writes the files of a snapshot from a repository of cprewind with nothing but Python and zstd(1): docs/store-format.md.

usage: read-snapshot.py REPOSITORY ID DIRECTORY     (ID as `cprewind log --json` tells it; packs of version 1 and 2)"""
import functools, hashlib, pathlib, struct, subprocess, sys
PAGE, BLOCK = 4096, 256 * 1024

def unzstd(data):
    return subprocess.run(["zstd", "-dcq"], input=data, capture_output=True, check=True).stdout

class Reader:
    at = 0
    def bytes(self, size):
        self.at += size
        return self.data[self.at - size:self.at]

    def integer(self, kind):
        return struct.unpack("<" + kind, self.bytes(struct.calcsize(kind)))[0]

    def varint(self):
        byte = self.integer("B")
        return byte if byte < 0x80 else (byte & 0x7F) | self.varint() << 7

    def text(self):
        return self.bytes(self.integer("I")).decode()

    def __init__(self, data):
        self.data = data

class Pack:
    def __init__(self, repository, ident):
        path = next((pathlib.Path(repository) / "packs").glob(f"{ident}.*"))
        self.data, self.files, self.groups, self.slots, self.cache = path.read_bytes(), {}, [], [], {}
        offset, size, _, _, digest, magic = struct.unpack("<4Q32s8s", self.data[-72:])
        assert self.data[:8] == b"cprwpack" and magic == b"cprwtail", f"{path} is no pack"
        assert hashlib.sha256(self.data[offset:-40]).digest() == digest, f"{path} is damaged"
        self.version = struct.unpack("<I", self.data[8:12])[0]
        index = Reader(self.data[offset:offset + size])
        (self.read_blocks if self.version == 1 else self.read_parts)(index)

    def read_blocks(self, index):
        for _ in range(index.integer("I")):
            name, size = index.text(), index.integer("Q")
            self.files[name] = (size, [])
            for i in range(-(-size // BLOCK)):
                kind = index.integer("B")
                place = (index.integer("Q"), index.integer("I"), index.bytes(32)) if kind else (0, 0, b"")
                self.files[name][1].append((kind, min(BLOCK, size - i * BLOCK), *place))
                index.bytes(8 if kind == 2 else 0)

    def read_parts(self, index):
        raw_size, frame_size = index.integer("Q"), index.integer("Q")
        parts = Reader(unzstd(index.bytes(frame_size)))
        self.packs = [parts.bytes(32).hex() for _ in range(parts.integer("I"))]
        [parts.text() for _ in range(parts.integer("I"))]  # address spaces: for writers
        for i in range(parts.integer("I")):
            kind, pages, offset, stored = (parts.integer(c) for c in "BBQI")
            digest, _ = parts.bytes(32), parts.bytes(8)
            bases = [(parts.varint(), parts.varint()) for _ in range(pages)] if kind & 0x80 else None
            self.groups.append((kind & 0x7F, pages * PAGE, offset, stored, digest, bases))
            self.slots += [(i, page) for page in range(pages)]
        for _ in range(parts.integer("I")):
            name, size = parts.text(), parts.integer("Q")
            runs = []
            for _ in range(parts.varint()):
                pages, pack = parts.varint(), parts.varint()
                runs.append((pages, pack, parts.varint() if pack else 0))
            [parts.varint() for _ in range(4 * parts.varint())]
            self.files[name] = (size, runs)

    def block(self, kind, size, offset, stored, digest):
        data = self.data[offset:offset + stored]
        raw = unzstd(data) if kind == 2 else data if kind else bytes(size)
        assert kind == 0 or (hashlib.sha256(raw).digest() == digest and len(raw) == size), "a block is damaged"
        return raw

open_pack = functools.cache(Pack)
def page_of(repository, pack, number, slot):
    if number == 0:
        return bytes(PAGE)
    owner = pack if number == 1 else open_pack(repository, pack.packs[number - 2])
    group, page = owner.slots[slot]
    *block, bases = owner.groups[group]
    if group not in owner.cache:
        owner.cache[group] = owner.block(*block)
    raw = owner.cache[group][page * PAGE:(page + 1) * PAGE]
    return bytes(a ^ b for a, b in zip(raw, page_of(repository, owner, *bases[page]))) if bases else raw

def main(repository, ident, directory):
    pack = open_pack(repository, ident)
    for name, (size, pieces) in pack.files.items():
        path = pathlib.Path(directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as out:
            for piece in pieces:
                out.writelines([pack.block(*piece)] if pack.version == 1 else
                               (page_of(repository, pack, piece[1], piece[2] + i) for i in range(piece[0])))
            out.truncate(size)

main(*sys.argv[1:])
