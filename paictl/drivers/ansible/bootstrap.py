"""From a password to a key: makes a host one that plays can be run on. Called by ``paictl bootstrap``; asks nobody anything."""

from __future__ import annotations

from dataclasses import dataclass

from paictl.disk import replace_file
from paictl.drivers.ansible.hosts import Hosts
from paictl.drivers.ansible.shell import Shell
from paictl.errors import PaictlError, Refused

__all__ = ["Opened", "install_key", "opened", "own_key"]

_INSTALL_SECONDS = 300
# As the user who logs in, whatever root may do: nothing of theirs is followed as root. Their last line may have no end.
_ADD = """
folder=$(getent passwd "$(id -un)" | cut -d: -f6)/.ssh
umask 077
mkdir -p "$folder"
file=$folder/authorized_keys
touch "$file"
if ! grep -qxF "$1" "$file"; then
  if [ -s "$file" ] && [ -n "$(tail -c 1 "$file")" ]; then echo >>"$file"; fi
  printf '%s\\n' "$1" >>"$file"
fi
"""
_AS_THEM = 'exec runuser -u "${SUDO_USER:-root}" -- sh -ec "$1" sh "$2"'
# Afresh: what sudo was told a minute ago does not count.
_ASKS = '[ -n "$SUDO_USER" ] && ! runuser -u "$SUDO_USER" -- sudo -kn true 2>/dev/null'
_PYTHON = """
command -v /usr/bin/python3 >/dev/null && exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get -q update && apt-get -qy --no-install-recommends install python3
"""


@dataclass(frozen=True, slots=True)
class Opened:
    """That a key opens a host and root is reached there. ``own``: the key is one that paictl made."""

    own: bool
    sudo_asks: bool


def opened(hosts: Hosts, name: str) -> Opened:
    """Log in with a key and become root; raises ``Unreachable``, or ``Refused`` by sudo. Changes nothing."""
    # A connection that stands says nothing about keys: the one that let it in may be lost since.
    hosts.renew(name)
    asks = Shell(hosts, name).run(["sh", "-c", _ASKS])
    return Opened(hosts.own_key(name).is_file(), asks.code == 0)


def own_key(hosts: Hosts, name: str, comment: str) -> str:
    """The public part of paictl's own key for that host, as in authorized_keys; the key is made when there is none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path, form = hosts.own_key(name), serialization.PrivateFormat.OpenSSH
    if not path.exists():
        made = Ed25519PrivateKey.generate()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, made.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    try:
        key = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Refused(
            f"{path} is no key any more", help="Restore it, or delete it: `paictl bootstrap` makes another."
        ) from error
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{public.decode('ascii')} {comment}"


def install_key(hosts: Hosts, name: str, public: str) -> None:
    """Let that key in, beside whatever lets somebody in already, and see to it that there is Python. ``hosts`` know a password."""
    shell = Shell(hosts, name)
    done = shell.run(["sh", "-c", _AS_THEM, "sh", _ADD, public])
    if done.code != 0:
        raise PaictlError(
            f"the key could not be installed on {name}: {_end(done.stderr)}",
            help="Its user needs a home that can be written to: `ls -ld ~ ~/.ssh` on it.",
        )
    done = shell.run(["sh", "-c", _PYTHON], timeout=_INSTALL_SECONDS)
    if done.code != 0:
        raise PaictlError(
            f"{name} has no Python, and none could be installed: {_end(done.stderr)}",
            help="Install it by hand: apt-get install python3. Plays can't be run without it.",
        )


def _end(said: bytes) -> str:
    return " ".join(said.decode("utf-8", "replace").split())[-300:] or "it did not say why"
