"""Networks."""

import pytest

from cell import ask, reach
from support import docker

ADDRESS = "172.30.77.7"


@pytest.fixture
def network():
    docker("network", "create", "--subnet", "172.30.77.0/24", "matrix-network")
    yield "matrix-network"
    docker("network", "rm", "matrix-network", status=None)


@pytest.mark.fast
def test_none(cell):
    """`--network none`"""
    cell.there_and_back(cell.witness("--network", "none"))


def test_bridge(cell):
    """`--network bridge`, reached by its address and by a published port"""
    made = cell.witness("--network", "bridge", "--publish", "7505:8000")
    address = made.address
    cell.there_and_back(made)
    assert made.address == address
    assert reach(address, 8000)["words"] == reach("127.0.0.1", 7505)["words"] == ["blue", "green"]


@pytest.mark.fast
def test_host(cell):
    """`--network host`"""
    made = cell.witness("--network", "host", port=7506)
    cell.there_and_back(made, port=7506, expect=["/network/"])  # what the whole lab has
    assert reach("127.0.0.1", 7506)["words"] == ["blue", "green"]


@pytest.mark.fast
def test_joined(cell):
    """`--network container:…`, the container that joined"""
    owner = cell.witness(port=8100)
    made = cell.witness("--network", f"container:{owner.name}")
    cell.there_and_back(made)
    ask(owner, "hello", port=8000)
    assert ask(made, port=8100)["words"] == [] and reach(owner.address, 8000)["words"] == ["blue", "green", "hello"]


def test_owner(cell):
    """`--network container:…`, the container that others joined"""
    owner = cell.witness()
    guest = cell.witness("--network", f"container:{owner.name}", port=8200)
    cell.there_and_back(owner)
    ask(guest, "alive", port=8200)
    cell.note("those that joined stay in the network of before, as after `docker restart`: restart them")


@pytest.mark.fast
def test_fixed_address(cell, network):
    """a user-defined network with a fixed address"""
    made = cell.witness("--network", network, "--ip", ADDRESS)
    cell.there_and_back(made)
    assert made.address == ADDRESS and reach(ADDRESS, 8000)["words"] == ["blue", "green"]
    cell.clean()


def test_two_networks(cell, network):
    """two networks, the second connected later"""
    made = cell.witness()
    docker("network", "connect", "--ip", ADDRESS, network, made.id)
    first = made.inspect("{{.NetworkSettings.Networks.bridge.IPAddress}}")
    cell.there_and_back(made, expect=["/network/"])
    for address in (first, ADDRESS):
        assert reach(address, 8000)["words"] == ["blue", "green"]
    cell.note("Docker may swap the names eth0 and eth1, as at `docker restart`; the addresses stay")
    cell.clean()


def test_mac_address(cell):
    """`--mac-address`"""
    made = cell.witness("--mac-address", "02:42:ac:11:77:77")
    cell.there_and_back(made)
    assert made.exec("cat", "/sys/class/net/eth0/address") == "02:42:ac:11:77:77\n"
