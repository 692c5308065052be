"""Our schema is CRIU's, field by field: the descriptors of python3-pycriu against those that the build made of ours.

Passes with python3-pycriu 4.2 of forky, which labs have, and with 4.1.1 of trixie: unpack its package where a lab sees it
and set CPREWIND_PYCRIU to the directory that holds `pycriu`.
"""

import importlib
import os
import pathlib
import sys

if os.environ.get("CPREWIND_PYCRIU"):
    sys.path.insert(0, os.environ["CPREWIND_PYCRIU"])

import pytest
from google.protobuf import descriptor_pb2

import pycriu.images  # puts its modules on the path

BUILD = pathlib.Path(os.environ["CPREWIND_BIN"]).parent

# What we leave out, and why.
NOT_OURS = {
    "CRIU_Opts": "how crit --pretty shows a field, no image",
    "img_streamer_request_entry": "protocol of criu-image-streamer, no image",
    "img_streamer_reply_entry": "likewise",
}

# What 4.1 does not have yet: 4.2 gave the count of pages another number and the old field another name.
SINCE_4_2 = {"pagemap_entry": {"compat_nr_pages", "nr_pages"}, "inventory_entry": {"allow_uprobes"}}


def collect(files):
    messages, enums = {}, {}

    def walk(prefix, new_messages, new_enums):
        for enum in new_enums:
            enums[prefix + enum.name] = {v.name: v.number for v in enum.value}
        for message in new_messages:
            messages[prefix + message.name] = {
                f.name: (f.number, f.label, f.type, f.type_name.replace(".cprewind.criu", ""), f.default_value,
                         f.options.packed)
                for f in message.field
            }
            walk(prefix + message.name + ".", message.nested_type, message.enum_type)

    for file in files:
        walk("", file.message_type, file.enum_type)
    return messages, enums


def theirs():
    directory = pathlib.Path(pycriu.images.__file__).parent
    sys.path.insert(0, str(directory))
    for module in sorted(directory.glob("*_pb2.py")):
        if module.stem == "rpc_pb2":  # the protocol of `criu service`
            continue
        proto = descriptor_pb2.FileDescriptorProto()
        importlib.import_module(module.stem).DESCRIPTOR.CopyToProto(proto)
        yield proto


def ours():
    everything = descriptor_pb2.FileDescriptorSet()
    everything.ParseFromString((BUILD / "images" / "schema.descriptors").read_bytes())
    return [f for f in everything.file if f.package == "cprewind.criu"]


@pytest.fixture(scope="module")
def schemas():
    return collect(theirs()), collect(ours())


def test_every_message_of_criu_is_ours_with_the_same_fields(schemas):
    (theirs, _), (ours, _) = schemas
    assert len(ours) > 150
    assert set(theirs) - set(ours) == set(NOT_OURS)
    older = "compat_nr_pages" not in theirs["pagemap_entry"]
    for name, fields in ours.items():
        skip = SINCE_4_2.get(name, set()) if older else set()
        assert {k: v for k, v in fields.items() if k not in skip} == {
            k: v for k, v in theirs[name].items() if k not in skip}, name


def test_every_enumeration_of_criu_is_ours_with_the_same_numbers(schemas):
    (_, theirs), (_, ours) = schemas
    assert ours == theirs
