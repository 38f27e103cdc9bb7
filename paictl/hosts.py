"""Host names and IP addresses: which of them mean this machine, and how they are written in a URL. Pure; resolves nothing."""

from __future__ import annotations

import ipaddress

__all__ = ["bracketed", "is_loopback"]


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine; an IPv6 address may stand in brackets."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def bracketed(host: str) -> str:
    """The host as a URL writes it before a port: IPv6 addresses in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]" if ":" in host else host
