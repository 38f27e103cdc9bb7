"""The driver's words to the keeper, which holds the agent's secrets in memory beside its services (``paictl.runtime.keeper``).

A value goes to it over the exec's stdin and nowhere else: it is in no argument, no environment, no image and on no disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.execution import run
from paictl.drivers.docker.troubles import EngineError
from paictl.errors import PaictlError, Unreachable

__all__ = ["ALTERED", "GENERATED", "drop", "make", "put", "status"]

ALTERED = "altered"
"""What ``status`` says of a secret that is not as it was put, or not where it belongs."""

GENERATED = "generated"
"""What ``status`` says of a generated secret that is the same as its original everywhere."""

_KEEPER = ("/opt/paictl/venv/bin/python", "-m", "paictl.runtime.keeper")


def status(connection: Connection, keeper_id: str) -> Mapping[str, str]:
    """Name -> the fingerprint it stands with, ``GENERATED`` or ``ALTERED``; what does not stand is left out.

    Raises ``Unreachable`` when the keeper does not tell.
    """
    try:
        code, told, why = _asked(connection, keeper_id, "status")
    except EngineError as error:
        raise _silent(keeper_id, error.summary) from error
    if code != 0:
        raise _silent(keeper_id, why)
    found: dict[str, str] = json.loads(told)
    return found


def make(connection: Connection, keeper_id: str, name: str) -> None:
    """A generated secret: made once, then the same to every service that reads it."""
    _do(connection, keeper_id, "make", name)


def put(connection: Connection, keeper_id: str, name: str, fingerprint: str, value: bytes) -> None:
    """A declared secret: this value to every service that reads it; ``fingerprint`` is what ``status`` tells of it then."""
    # With its length, so that a connection that breaks off leaves the old value and not half of the new one.
    _do(connection, keeper_id, "put", name, fingerprint, stdin=b"%d\n%b" % (len(value), value))


def drop(connection: Connection, keeper_id: str, name: str) -> None:
    """Take it from every service; the original of a generated one stays with the agent's data."""
    _do(connection, keeper_id, "drop", name)


def _do(connection: Connection, keeper_id: str, verb: str, name: str, *words: str, stdin: bytes = b"") -> None:
    code, _, why = _asked(connection, keeper_id, verb, name, *words, stdin=stdin)
    if code != 0:
        raise PaictlError(f"the secret `{name}` is not with its services: {why}", help=_advice(keeper_id))


def _asked(connection: Connection, keeper_id: str, *words: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
    done = run(connection, keeper_id, [*_KEEPER, *words], stdin)
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return done.code, done.stdout, lines[-1] if lines else f"it ended with {done.code}"


def _silent(keeper_id: str, why: str) -> Unreachable:
    return Unreachable(f"the keeper of the secrets does not tell what it holds: {why}", help=_advice(keeper_id))


def _advice(keeper_id: str) -> str:
    return f"`docker logs {keeper_id[:12]}` shows what the keeper wrote."
