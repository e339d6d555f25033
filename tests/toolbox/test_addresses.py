"""Which addresses are public, and what an operator allows besides."""

import pytest

from toolbox import HttpPolicy, ToolError
from toolbox.addresses import is_public


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "239.1.1.1",
     "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00::1", "fd00:ec2::254",
     "fd20:ce::254", "ff02::1", "ff0e::1", "2001:db8::1"],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["100.100.100.200", "168.63.129.16", "169.254.170.2", "192.0.0.192"])
def test_addresses_of_metadata_services(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe",
     "64:ff9b::a83f:8110", "64:ff9b:1::7f00:1", "64:ff9b:1::808:808", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:808:808::8585:8585",
     "::7f00:1", "::808:808", "2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a9fe:a9fe"],
)  # fmt: skip
def test_ipv6_that_carries_ipv4(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["fec0::1", "5f00::1", "4000::1", "100::1", "3fff::1", "192.88.99.1", "192.0.0.9", "2001:1::1"])  # fmt: skip
def test_addresses_that_python_may_call_global(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "93.184.215.14", "168.63.129.17", "2606:4700::1111", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::808:808",
     "64:ff9b::5db8:d70e", "::ffff:8.8.8.8", "::ffff:93.184.215.14", "2002:808:808::1", "2606:4700::5efe:808:808"],
)  # fmt: skip
def test_addresses_that_are(address: str) -> None:
    assert is_public(address)


def test_only_the_public_ones_of_several_addresses_count() -> None:
    answers = {"mixed.example": ["10.0.0.1", "8.8.8.8", "::1"], "inside.example": ["10.0.0.1"], "none.example": []}
    policy = HttpPolicy(frozenset({"named.example"}), lambda host, port: answers.get(host, ["10.9.9.9"]))
    assert policy.addresses("mixed.example", 443) == ["8.8.8.8"]
    assert policy.addresses("named.example", 443) == ["10.9.9.9"]
    for host in ("inside.example", "none.example", "other.named.example", "named.example.com"):
        with pytest.raises(ToolError) as raised:
            policy.addresses(host, 443)
        assert (raised.value.code, raised.value.hint) == (
            "address_refused", f"an operator may allow it: SOP_HTTP_ALLOW={host}",
        )  # fmt: skip


def test_hosts_are_allowed_as_urls_name_them() -> None:
    policy = HttpPolicy.allowing(["Crm.Internal", "mail:2525", "[::1]:8080", "[fd00:0::1]", "10.0.0.1:80"])
    assert policy.allowed == {"crm.internal", "mail:2525", "[::1]:8080", "[fd00::1]", "10.0.0.1:80"}
    assert policy.names("CRM.internal", 443)
    assert policy.names("mail", 2525)
    assert not policy.names("mail", 25)
    assert policy.names("0:0::1", 8080)
    assert not policy.names("::1", 8081)
    assert not policy.names("::1:8080", 443), "that is an address, and no port"
    assert policy.names("fd00::1", 1)
    assert not policy.names("10.0.0.1", 443)


@pytest.mark.parametrize("text", ["10.0.0.0/8", "*.internal", "https://crm.internal", "me@crm", "a b", "crm:", "crm:0", "crm:65536", "crm:x", "::1", "[::1", "[10.0.0.1]", "[::1%lo]", "bücher.example", ""])  # fmt: skip
def test_what_is_no_host_cannot_be_allowed(text: str) -> None:
    with pytest.raises(ValueError):
        HttpPolicy.allowing([text])
