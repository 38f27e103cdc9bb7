"""Which proxy the environment wants for a cluster's API server, read as kubectl reads it (Go's httpproxy). Used by ``dialling``; pure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult

__all__ = ["proxy_for"]


def proxy_for(server: SplitResult, environment: Mapping[str, str] | None = None) -> str:
    """Its address; empty for the direct way. Loopback never goes through one."""
    given = os.environ if environment is None else environment
    proxy = _first(given, f"{server.scheme}_proxy")
    host = (server.hostname or "").lower()
    if not proxy or host == "localhost":
        return ""
    address = _address(host)
    if address is not None and address.is_loopback:
        return ""
    port = server.port or (443 if server.scheme == "https" else 80)
    excepted = (one.strip().lower() for one in _first(given, "no_proxy").split(","))
    return "" if any(_means(one, host, port, address) for one in excepted if one) else proxy


def _first(given: Mapping[str, str], name: str) -> str:
    return given.get(name.upper()) or given.get(name) or ""


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _means(exception: str, host: str, port: int, address: IPv4Address | IPv6Address | None) -> bool:
    """Whether this entry of NO_PROXY is about that host: a block, an address, a domain with what is below it, any with a port."""
    if exception == "*":
        return True
    if "/" in exception:
        try:
            return address is not None and address in ip_network(exception, strict=False)
        except ValueError:
            return False
    name, wanted = _parted(exception)
    if wanted and wanted != str(port):
        return False
    known = _address(name)
    if known is not None:
        return known == address
    name = name.removeprefix("*")
    # With a dot before it, only what is below it is meant.
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _parted(exception: str) -> tuple[str, str]:
    if exception.startswith("["):
        name, _, port = exception[1:].partition("]")
        return name, port.removeprefix(":")
    if exception.count(":") == 1:
        name, _, port = exception.partition(":")
        return name, port
    return exception, ""
