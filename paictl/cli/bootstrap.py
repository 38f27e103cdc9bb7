"""``paictl bootstrap``: from a host that only a password opens to one that a key opens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from paictl.cli.flags import Call, trust_host_keys, verb_command
from paictl.errors import ExitCode, PaictlError, Refused, UsageError

if TYPE_CHECKING:
    from paictl.cli.session import Session

__all__ = ["verb"]


@dataclass(frozen=True, slots=True)
class _Host:
    """What became of one host."""

    name: str
    installed: bool = False
    own: bool = False
    sudo_asks: bool = False
    error: PaictlError | None = None


@verb_command("bootstrap")
@trust_host_keys
def verb(call: Call, trust_host_keys: bool) -> int:
    """Let paictl in on the target's hosts by a key: where none of yours opens one, a key of its own is made and installed.

    The user's password is asked for, or read from the secret that the host's `password` names, and used this once. Done
    again, it changes nothing.
    """
    from paictl.cli.logins import Pinning
    from paictl.cli.session import open_session

    session = open_session(call)
    if session.driver_name != "ansible" or not session.manifest.target_spec.hosts:
        raise UsageError(
            f"{session.scope.target} has no hosts to be let in on",
            help="This is for targets of driver ansible, with `hosts`.",
        )
    session.meet(Pinning(trust_host_keys, locked=call.flags.locked))
    done = list(_each(session))
    document = {"format": "1", "target": session.scope.target, "hosts": [_document(host) for host in done]}
    call.terminal.result(document, lambda: [line for host in done for line in _lines(session, host)])
    return ExitCode.FAILED if any(host.error for host in done) else ExitCode.OK


def _each(session: Session) -> Iterator[_Host]:
    for name in session.manifest.target_spec.hosts:
        try:
            yield _bootstrapped(session, name)
        except PaictlError as error:
            yield _Host(name, error=error)


def _bootstrapped(session: Session, name: str) -> _Host:
    from paictl.drivers.ansible.bootstrap import opened
    from paictl.drivers.ansible.troubles import LockedOut

    try:
        found = opened(session.hosts, name)
    except LockedOut:
        _install(session, name)
        # With what every later run has: the key, and sudo's password.
        found = opened(session.hosts, name)
        return _Host(name, installed=True, own=found.own, sudo_asks=found.sudo_asks)
    return _Host(name, own=found.own, sudo_asks=found.sudo_asks)


def _install(session: Session, name: str) -> None:
    from paictl.cli.logins import FirstLogin
    from paictl.drivers.ansible.bootstrap import install_key, own_key
    from paictl.drivers.ansible.troubles import LockedOut

    user = session.hosts.logins[name].user or "your user"
    if session.asked.login(name, user) is None:
        raise Refused(
            f"{name} is opened by no key, and nobody is there to say the password of {user}",
            help=f"Run it on a terminal, or name a secret with the password: hosts.{name}.password.",
        )
    hosts = replace(session.hosts, passwords=FirstLogin(session.asked))
    scope = session.scope
    try:
        install_key(hosts, name, own_key(session.hosts, name, f"paictl {scope.agent}@{scope.target}"))
    except LockedOut as closed:
        raise Refused(
            f"{name} takes neither a key of yours nor that password of {user}",
            help="Correct the password or `user`. Where sshd takes no passwords, a key of yours has to be put there first.",
        ) from closed
    finally:
        hosts.close()


def _document(host: _Host) -> dict[str, object]:
    if host.error is not None:
        return {"name": host.name, "ok": False, "problem": host.error.summary, "help": host.error.help}
    key = "paictl's" if host.own else "yours"
    return {"name": host.name, "ok": True, "key": key, "installed": host.installed, "sudo_asks": host.sudo_asks}


def _lines(session: Session, host: _Host) -> list[str]:
    if host.error is not None:
        said = host.error.summary
        named = said.startswith((f"{host.name} ", f"{host.name}:"))
        return [said if named else f"{host.name}: {said}", f"  help: {host.error.help}"]
    key = "a key of paictl's own" if host.own else "a key of yours"
    lines = [f"{host.name}: {'opened by' if not host.installed else 'now opened by'} {key}"]
    declared = session.manifest.target_spec.hosts[host.name]
    if host.sudo_asks and not (declared.become_password or declared.password):
        lines += [
            "  sudo asks for a password there: you will be asked at every run, or name a secret: become_password."
        ]
    return lines
