"""``paictl vpn``: the devices that may reach the gateway through the VPN, and what a new one needs.

A device's private key is made here only when it is asked for, shown once, and kept nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from paictl.cli.flags import Call, option, verb_command
from paictl.errors import Diagnostic, PaictlError, Refused, UsageError
from paictl.hosts import bracketed

if TYPE_CHECKING:
    from paictl.cli.session import Session
    from paictl.manifest.vpn import Vpn

__all__ = ["Device", "configuration", "free_address", "verb"]

_SAID = re.compile(r"vpn: public key ([A-Za-z0-9+/]{43}=)")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_KEY = re.compile(r"[A-Za-z0-9+/]{43}=")
# Below what every path carries; and often enough that home routers don't forget the way back.
_MTU, _KEEPALIVE = 1280, 25


@dataclass(frozen=True, slots=True)
class Device:
    """One that is to be let in; ``private_key`` is empty where the device made its own."""

    name: str
    address: str
    public_key: str
    private_key: str = ""


@verb_command("vpn", takes_file=False)
@click.argument("action", type=click.Choice(["list", "add"]), default="list")
@click.argument("name", required=False)
@option("--public-key", metavar="KEY", help="add: the device's own; without it, a pair of keys is made and shown once.")
@option(
    "--qr/--no-qr", default=None, help="add: also as a QR code, for a phone; where a terminal shows it, by default."
)
def verb(call: Call, action: str, name: str | None, public_key: str | None, qr: bool | None) -> None:
    """List the devices of the target's VPN, or make what a new one needs: its configuration, and its lines for the manifest.

    `paictl vpn add phone > phone.conf` writes the configuration alone, as WireGuard's own programs read it. The private key in
    it is kept nowhere else. The device is let in by the next `paictl apply`, once its lines are in the manifest.
    """
    from paictl.cli.session import open_session

    session = open_session(call)
    vpn = session.manifest.target_spec.vpn
    if vpn is None:
        raise UsageError(
            f"the target {session.scope.target} has no VPN",
            help=f"Add `vpn: {{endpoint: HOST:PORT}}` to targets.{session.scope.target}.",
        )
    if action == "list":
        _list(call, session, vpn)
    else:
        _add(call, session, vpn, _device(session, vpn, name, public_key), qr=qr)


def _list(call: Call, session: Session, vpn: Vpn) -> None:
    from paictl.blueprint.vpn import endpoint
    from paictl.cli.console.table import table

    url, key = _url(session, vpn), _public_key(session) if vpn.manage == "managed" else ""
    peers = [{"name": name, **one.model_dump()} for name, one in vpn.peers.items()]
    document = {
        "format": "1",
        "manage": vpn.manage,
        "endpoint": endpoint(session.manifest) or None,
        "public_key": key or None,
        "url": url,
    }

    def text() -> list[str]:
        lines = [f"gateway     {url}"]
        if vpn.manage == "external":
            return [*lines, "devices     are let in by the mesh's own tools"]
        lines += [
            f"endpoint    {endpoint(session.manifest)}",
            f"public key  {key or 'not known before `paictl apply`'}",
            "",
        ]
        rows = [(one["name"], one["address"], one["public_key"]) for one in peers]
        return lines + (
            table(("DEVICE", "ADDRESS", "PUBLIC KEY"), rows, call.terminal.width)
            if rows
            else ["No device may come in yet: `paictl vpn add NAME`."]
        )

    call.terminal.result({**document, "peers": peers}, text)


def _url(session: Session, vpn: Vpn) -> str:
    """Where a device finds the gateway, once it is in the VPN."""
    from paictl.manifest.vpn import door_address

    at = door_address(vpn.network) if vpn.manage == "managed" else vpn.address or ""
    host = vpn.host or (bracketed(at) if at else "the name or address that the mesh gives it")
    return f"http://{host}:{session.manifest.agent.spec.gateway.port}" if vpn.host or at else host


def _public_key(session: Session) -> str:
    """What the VPN said of itself when it started; empty where none runs."""
    found = ""
    with suppress(PaictlError):
        for line in session.driver.logs(session.scope, "vpn", tail=200, follow=False):
            if match := _SAID.search(line):
                found = match[1]
    return found


def _device(session: Session, vpn: Vpn, name: str | None, public_key: str | None) -> Device:
    """The new one; refused where it can't be one."""
    if vpn.manage == "external":
        raise UsageError("the mesh's own tools let devices in", help="Here `manage: external` only says where it is.")
    if name is None or not _NAME.fullmatch(name):
        raise UsageError(
            "a new device needs a name", help="Lower-case letters, digits and dashes: `paictl vpn add phone`."
        )
    if name in vpn.peers:
        raise Refused(
            f"there is a device {name} already",
            help="Choose another name, or take its lines out of the manifest first.",
            diagnostics=[_where(session, name)],
        )
    if public_key is not None:
        if not _KEY.fullmatch(public_key):
            raise UsageError("that is no public key of WireGuard", help="It has 44 characters; `wg pubkey` prints it.")
        return Device(name, free_address(vpn), public_key)
    return _made(name, free_address(vpn))


def _where(session: Session, name: str) -> Diagnostic:
    span = session.manifest.origins.find(("spec", "targets", session.scope.target, "vpn", "peers", name))
    return Diagnostic(code="vpn-device", summary=f"{name} is here", span=span)


def free_address(vpn: Vpn) -> str:
    """The first of the network that nobody has; raises ``Refused`` when there is none."""
    import ipaddress

    from paictl.manifest.vpn import door_address

    taken = {door_address(vpn.network), *(one.address for one in vpn.peers.values())}
    for address in ipaddress.ip_network(vpn.network).hosts():
        if str(address) not in taken:
            return str(address)
    raise Refused(
        f"every address of {vpn.network} is taken", help="Take devices out that are no more, or a larger network."
    )


def _made(name: str, address: str) -> Device:
    from base64 import b64encode

    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    key = X25519PrivateKey.generate()
    public, private = key.public_key().public_bytes_raw(), key.private_bytes_raw()
    return Device(name, address, b64encode(public).decode(), b64encode(private).decode())


def configuration(device: Device, vpn: Vpn, door_key: str, at: str) -> str:
    """The device's file, as WireGuard's own programs read it: one way in, to one address; ``at`` is where it is found from outside."""
    from paictl.manifest.vpn import door_address

    door = door_address(vpn.network)
    bits = 128 if ":" in door else 32
    key = device.private_key or "(the device's own)"
    return f"""\
[Interface]
PrivateKey = {key}
Address = {device.address}/{bits}
MTU = {_MTU}

[Peer]
PublicKey = {door_key}
Endpoint = {at}
AllowedIPs = {door}/{bits}
PersistentKeepalive = {_KEEPALIVE}
"""


def _add(call: Call, session: Session, vpn: Vpn, device: Device, *, qr: bool | None) -> None:
    door_key = _public_key(session)
    if not door_key:
        raise Refused(
            "the VPN's own public key is not known: it is made on the target, when the VPN first starts",
            help="`paictl apply` first; `paictl logs vpn` shows what it says.",
        )
    from paictl.blueprint.vpn import endpoint

    text = configuration(device, vpn, door_key, endpoint(session.manifest))
    line = f"{device.name}: {{public_key: {device.public_key}, address: {device.address}}}"
    document = {
        "format": "1",
        "name": device.name,
        "address": device.address,
        "public_key": device.public_key,
        "url": _url(session, vpn),
        "configuration": text,
        "manifest": line,
    }
    call.terminal.result(document, lambda: text.rstrip("\n").splitlines(), raw=True)
    shown = call.terminal.live if qr is None else qr
    for said in (*(_qr(text) if shown and device.private_key else ()), *_next(session, device, line)):
        call.terminal.note(said)


def _qr(text: str) -> Sequence[str]:
    import io

    import segno

    drawn = io.StringIO()
    segno.make(text.strip(), error="l", micro=False).terminal(out=drawn, compact=True)
    return ["", *drawn.getvalue().splitlines()]


def _next(session: Session, device: Device, line: str) -> Sequence[str]:
    once = ["The private key is kept nowhere else: what is lost is made anew."] if device.private_key else []
    return [
        "",
        *once,
        f"To let {device.name} in, write this under targets.{session.scope.target}.vpn.peers, and `paictl apply`:",
        f"  {line}",
    ]
