"""What may leave the target and where to: keys bound to hosts, private addresses refused, keys taken out of what comes back."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from paictl.runtime.gateway.answers import ApiError

__all__ = ["PinnedTransport", "credential", "is_literal", "redact", "redacted_stream"]

_MASK = b"[redacted]"


class PinnedTransport(httpx.AsyncBaseTransport):
    """Resolves a name once, refuses private addresses, and connects to exactly the address it checked.

    A name that resolves to the inside would turn the door into a way around itself; resolving again for the connection
    would let the answer change in between. A literal address is what a person wrote and is taken as it stands.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        if not is_literal(host):
            address = await _public_address(host, request.url.port or (443 if request.url.scheme == "https" else 80))
            request.extensions = {**request.extensions, "sni_hostname": host}
            request.url = request.url.copy_with(host=address)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def is_literal(host: str) -> bool:
    """Whether the host is an IP address or ``localhost``: no resolver decides where it leads."""
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _public_address(host: str, port: int) -> str:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpx.ConnectError(f"{host} does not resolve") from error
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        ip = ipaddress.ip_address(address)
        if not ip.is_global or ip.is_multicast:
            raise ApiError(
                403,
                "private_address",
                f"{host} resolves to {address}, which is not a public address; declare the model's server as local or by address",
            )
    return addresses[0]


def credential(secret: str, url: str, hosts: Sequence[str]) -> bytes:
    """The key of ``secrets/<secret>``, if it may be sent to this URL's host; read for each call, kept nowhere."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host not in hosts and parts.netloc not in hosts:
        raise ApiError(
            403,
            "secret_not_for_host",
            f"the secret {secret!r} is not for {host or 'this server'}: spec.secrets.{secret}.hosts does not name it",
        )
    try:
        key = Path("secrets", secret).read_bytes().strip()
    except OSError as error:
        raise ApiError(
            503, "secret_missing", f"the secret {secret!r} is not there; paictl apply puts it in place"
        ) from error
    if not key or any(byte < 0x21 or byte > 0x7E for byte in key):
        raise ApiError(
            503, "secret_unusable", f"the secret {secret!r} is empty or not one line of printable characters"
        )
    return key


def redact(body: bytes, key: bytes | None) -> bytes:
    """The body without the key."""
    return body.replace(key, _MASK) if key else body


async def redacted_stream(source: AsyncIterator[bytes], key: bytes | None) -> AsyncGenerator[bytes, None]:
    """The stream without the key, also where it straddles two chunks; only what could begin a key is held back."""
    if not key:
        async for chunk in source:
            yield chunk
        return
    held = b""
    async for chunk in source:
        text = (held + chunk).replace(key, _MASK)
        keep = next((n for n in range(min(len(key) - 1, len(text)), 0, -1) if text.endswith(key[:n])), 0)
        held = text[len(text) - keep :]
        if len(text) > keep:
            yield text[: len(text) - keep]
    if held:
        yield held
