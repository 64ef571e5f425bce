"""Whether an address belongs to the public internet. Pure."""

from __future__ import annotations

import ipaddress

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052: the last four bytes are the IPv4 address that is reached."""


def is_public(address: str) -> bool:
    """Whether an IP address, as text, is one of the public internet; False for a text that is no address.

    Private, loopback, link-local, shared, reserved and multicast ones are not (IANA's special-purpose registries, as the
    standard library has them), nor is an IPv6 address that stands for such an IPv4 address.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    within = _ipv4_within(found) if isinstance(found, ipaddress.IPv6Address) else None
    meant = found if within is None else within
    return meant.is_global and not meant.is_multicast


def _ipv4_within(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that packets to an IPv6 address end at, None where there is none."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
