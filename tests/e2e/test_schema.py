"""Our schema is CRIU's, field by field: the descriptors of python3-pycriu against those that the build made of ours."""

import importlib
import os
import pathlib
import sys

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
    for name, fields in ours.items():
        assert fields == theirs[name], name


def test_every_enumeration_of_criu_is_ours_with_the_same_numbers(schemas):
    (_, theirs), (_, ours) = schemas
    assert ours == theirs
