"""A phone of a host's owner, as a network of its own on that host: what it reaches with what `paictl vpn add` prints. For tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.hosts.host import Host
from tests.hosts.lan import Refused

__all__ = ["Phone", "connected"]

# Its way to the host is a cable of its own (RFC 5737: nobody else's addresses).
_BEGIN = """
ip netns add phone
ip link add to-phone type veth peer name cable netns phone
ip address add 192.0.2.1/30 dev to-phone
ip link set to-phone up
ip -n phone address add 192.0.2.2/30 dev cable
ip -n phone link set cable up
ip -n phone route add default via 192.0.2.1
umask 077
cat >/run/phone.conf
ip netns exec phone wg-quick up /run/phone.conf
"""
_END = "ip netns exec phone wg-quick down /run/phone.conf; ip netns delete phone; rm -f /run/phone.conf"


@dataclass(frozen=True)
class Phone:
    """One that is connected, as far as it goes."""

    host: Host

    def reads(self, url: str) -> str:
        """What is there; empty where it is not let."""
        return self._said(["curl", "--silent", "--max-time", "3", url])

    def connects(self, address: str, port: int) -> bool:
        return bool(self._said(["timeout", "3", "bash", "-c", f"exec 3<>/dev/tcp/{address}/{port} && echo in"]))

    def _said(self, argv: Sequence[str]) -> str:
        with suppress(Refused):
            return self.host.exec(["ip", "netns", "exec", "phone", *argv])
        return ""


@contextmanager
def connected(host: Host, configuration: str) -> Iterator[Phone]:
    """By WireGuard's own tools, which the host has for its VPN; nothing of the phone is left on it."""
    host.exec(["sh", "-ec", _BEGIN], configuration)
    try:
        yield Phone(host)
    finally:
        host.exec(["sh", "-c", _END])
