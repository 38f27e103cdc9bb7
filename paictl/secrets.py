"""Reads secrets where they are kept, and tells them apart without showing them.

The command line calls this with plain values (``cli.resolution``); nothing here knows a manifest. No error, no name and no
representation made here ever contains a secret's value.
"""

from __future__ import annotations

import hmac
import stat
import subprocess
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from paictl.errors import PaictlError
from paictl.places import config_home

__all__ = ["SecretError", "SecretReference", "SecretWarning", "fingerprint", "read"]

Source = Literal["env", "file", "age", "keyring", "exec", "kubernetes"]

_COMMAND_SECONDS = 30.0


class SecretError(PaictlError):
    """A secret can't be read. The message names the place, never a value."""

    code = "secret"


class SecretWarning(UserWarning):
    """A secret was read, but is kept carelessly."""


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where one secret is kept; which fields matter depends on ``source``, as in the manifest.

    Relative ``file`` and ``identity`` start from ``folder``.
    """

    name: str
    source: Source
    entry: str = ""
    file: str = ""
    key: str = ""
    identity: str = ""
    service: str = ""
    command: tuple[str, ...] = ()
    folder: Path = field(default_factory=Path)


def read(reference: SecretReference, env: Mapping[str, str], *, timeout: float = _COMMAND_SECONDS) -> bytes:
    """The secret's value. Raises ``SecretError``; warns with ``SecretWarning`` when others may read its file."""
    match reference.source:
        case "env":
            value = _from_env(reference, env)
        case "file":
            value = _without_newline(_file(reference, reference.file))
        case "age":
            value = _from_age(reference)
        case "keyring":
            value = _from_keyring(reference)
        case "exec":
            value = _without_newline(_from_command(reference, env, timeout))
        case "kubernetes":
            raise _error(reference, "is kept in the cluster and read there", "it can't be read from this machine")
    if not value:
        raise _error(reference, "is empty", f"put a value into {_where(reference)}")
    return value


def fingerprint(key: bytes, value: bytes) -> str:
    """Twelve hexadecimal digits that change with the value: a keyed HMAC-SHA256, useless without the key."""
    return hmac.digest(key, value, "sha256").hex()[:12]


def _from_env(reference: SecretReference, env: Mapping[str, str]) -> bytes:
    if reference.entry not in env:
        raise _error(reference, f"needs the environment variable {reference.entry}", f"export {reference.entry}=…")
    return env[reference.entry].encode()


def _file(reference: SecretReference, name: str) -> bytes:
    path = reference.folder / Path(name).expanduser()
    try:
        data = path.read_bytes()
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError as error:
        raise _error(
            reference, f"is looked for in {path}, which does not exist", "create it, or correct the path"
        ) from error
    except OSError as error:
        raise _error(reference, f"can't be read from {path}: {error.strerror}", "check its permissions") from error
    encrypted = reference.source == "age" and name == reference.file
    if mode & 0o077 and not encrypted:
        warnings.warn(f"{path} may be read by others: chmod 600 {path}", SecretWarning, stacklevel=3)
    return data


def _from_age(reference: SecretReference) -> bytes:
    import pyrage
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    encrypted = _file(reference, reference.file)
    identity_file = reference.identity or str(config_home() / "age.key")
    identities = _identities(reference, _file(reference, identity_file).decode(errors="replace"), identity_file)
    try:
        text = pyrage.decrypt(encrypted, identities)
    except pyrage.DecryptError as error:
        advice = f"is {identity_file} the identity it was encrypted to?"
        raise _error(reference, f"can't be decrypted from {reference.file}", advice) from error
    try:
        entries: Any = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        entries = None
    if not isinstance(entries, dict):
        # Without the cause: a YAML error quotes the text around it.
        advice = f"encrypt a YAML mapping: {reference.key or 'key'}: value"
        raise _error(reference, f"is not found: {reference.file} does not hold a mapping", advice) from None
    if reference.key not in entries:
        advice = f"its keys are {', '.join(sorted(map(str, entries)))}"
        raise _error(reference, f"is not found: {reference.file} has no key `{reference.key}`", advice)
    return str(entries[reference.key]).encode()


def _identities(reference: SecretReference, text: str, file: str) -> list[Any]:
    """An age identity file: one key a line, comments with ``#``; or one unencrypted ssh key."""
    import pyrage

    try:
        if text.startswith("-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(text.encode())]
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        return [pyrage.x25519.Identity.from_str(line) for line in lines]
    except pyrage.IdentityError:
        raise _error(
            reference, f"needs the identity in {file}, which is none", "`age-keygen -o FILE` makes one"
        ) from None


def _from_keyring(reference: SecretReference) -> bytes:
    import keyring
    from keyring.errors import KeyringError

    advice = f"keyring set {reference.service} {reference.entry}"
    try:
        value = keyring.get_password(reference.service, reference.entry)
    except KeyringError as error:
        raise _error(
            reference, f"can't be read from the keyring: {type(error).__name__}", "unlock it, or install a backend"
        ) from None
    if value is None:
        raise _error(reference, f"is not in the keyring under {reference.service}/{reference.entry}", advice)
    return value.encode()


def _from_command(reference: SecretReference, env: Mapping[str, str], timeout: float) -> bytes:
    program = reference.command[0]
    try:
        # No shell. Its standard error may quote the secret, so it is not kept.
        done = subprocess.run(
            reference.command,
            env=dict(env),
            cwd=reference.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise _error(
            reference, f"needs the program {program}, which is not found", "install it, or correct `command`"
        ) from None
    except subprocess.TimeoutExpired:
        raise _error(
            reference, f"was not printed by {program} within {timeout:g} s", "does it wait for input?"
        ) from None
    except OSError as error:
        raise _error(reference, f"needs the program {program}: {error.strerror}", "check its permissions") from None
    if done.returncode != 0:
        raise _error(
            reference, f"was not printed: {program} exited with {done.returncode}", "run the command by hand to see why"
        )
    return done.stdout


def _without_newline(data: bytes) -> bytes:
    """Without the one line end that editors and ``echo`` add."""
    return data.removesuffix(b"\n").removesuffix(b"\r") if data.endswith(b"\n") else data


def _where(reference: SecretReference) -> str:
    places = {
        "env": f"the environment variable {reference.entry}",
        "file": reference.file,
        "age": f"{reference.file}, under `{reference.key}`",
        "keyring": f"the keyring, under {reference.service}/{reference.entry}",
        "exec": f"what {reference.command[0] if reference.command else 'the command'} prints",
    }
    return places.get(reference.source, "its place")


def _error(reference: SecretReference, what: str, advice: str) -> SecretError:
    return SecretError(f"the secret `{reference.name}` {what}", help=advice)
