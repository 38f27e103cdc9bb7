"""What Ansible, ssh and sudo say when something fails, as what a person can act on. Pure; called by ``hearing`` and by bootstrap."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from paictl.drivers.ansible.fingerprints import fingerprint
from paictl.drivers.ansible.hosts import Login
from paictl.errors import PaictlError, Refused, Unreachable

__all__ = [
    "LockedOut",
    "Trouble",
    "not_reached",
    "nothing_was_said",
    "task_failed",
    "wants_password",
    "was_reached",
    "why_unreachable",
]

_MOST_WORDS = 600

_Row = tuple[str, str, str]
"""What is said, as a pattern; what that means, with ``{host}``, ``{user}`` and ``{where}``; and what to do about it."""

_SSH: Sequence[_Row] = (
    (
        r"Connection refused",
        "{host} takes no connections at {where}",
        "Nothing listens there: see that sshd runs on it, and that `port` is its port.",
    ),
    (
        r"Connection timed out|Operation timed out|No route to host|Network is unreachable|not responding",
        "{host} does not answer at {where}",
        "See that it is on, that its address is right, and that nothing on the way drops the packets.",
    ),
    (
        # Of a host that is not reached: a connection that was open already goes nowhere any more.
        r"[Tt]imeout \(?\d*s?\)? ?waiting for privilege escalation prompt",
        "{host} stopped answering at {where}",
        "It may have lost its power or its network; or its sudo waits for something: try `sudo true` on it.",
    ),
    (
        r"Could not resolve hostname|Name or service not known",
        "nobody knows the name of {host}, {where}",
        "Correct its `address`, or write an IP address.",
    ),
    (
        r"Too many authentication failures",
        "{host} closed the connection before it was shown the right key of {user}",
        "Your ssh agent offers too many: name the right one in ~/.ssh/config, with `IdentitiesOnly yes`.",
    ),
    (
        r"[Pp]assword has expired|[Pp]assword change required|account has expired",
        "{host} lets {user} in only after a new password was set",
        "Log in by hand once and set it: ssh {user}@{address}",
    ),
    (
        r"booting up|going down|not permitted to log in yet|nologin",
        "{host} lets nobody in at the moment",
        "It is starting or stopping, or somebody works on it (/run/nologin). Try again.",
    ),
    (
        r"Connection (closed|reset) by|kex_exchange_identification|Connection lost|Broken pipe",
        "{host} closed the connection",
        "It may be restarting, or refuse this machine or user: `journalctl -u ssh` on it says why.",
    ),
    (r"no such (file|identity)|UNPROTECTED PRIVATE KEY", "ssh can't use a key of yours for {host}", "See ~/.ssh."),
)

_SUDO: Sequence[_Row] = (
    (
        r"Missing sudo password|a password is required",
        "sudo of {host} asks for the password of {user}, and none is known",
        "Name a secret with it as the host's `become_password`, or run it on a terminal and be asked.",
    ),
    (
        r"Incorrect sudo password|incorrect password attempt",
        "sudo of {host} does not take the password of {user}",
        "Correct the secret that `become_password` names, or what you typed.",
    ),
    (
        r"sudo: (command )?not found|No such file.*sudo",
        "{host} has no sudo",
        "Install it there, or log in as root (`user: root`).",
    ),
    (
        r"not in the sudoers|not allowed to (execute|run)|may not run sudo|unknown user|sorry, you must have a tty",
        "sudo of {host} does not let {user} become root",
        "As root on it: usermod -aG sudo {user}. Or log in as another `user`.",
    ),
    (
        r"[Tt]imeout \(?\d*s?\)? ?waiting for privilege escalation prompt",
        "sudo of {host} did not answer",
        "Try `sudo true` on it: it may wait for a directory service or a name server.",
    ),
)

_TASKS: Sequence[_Row] = (
    *_SUDO,
    (
        r"module interpreter '.*' was not found|python3?: not found|python3: No such file",
        "{host} has no Python",
        "Install it there: apt-get install python3. paictl needs 3.11 or newer.",
    ),
    (
        r"No space left on device|Errno 28|[Nn]ot enough free space|Disk quota exceeded|Errno 122",
        "the disk of {host} is full",
        "Make room on it (`df -h` shows where); what was done before stands, and the next apply goes on from there.",
    ),
    (
        r"No usable temporary directory found",
        "nothing can be written on {host}: its disk is full or read-only",
        "`df -h` and `findmnt -O ro` on it say which.",
    ),
    (
        r"Read-only file system|Errno 30|Destination .* not writable",
        "a file system of {host} is read-only",
        "Its disk may be failing: `dmesg` and `findmnt -O ro` on it say more. Mount it for writing again, then apply.",
    ),
    (
        r"Could not get lock|dpkg frontend lock|is another process using it",
        "another program installs packages on {host} at the moment",
        "Unattended upgrades, most likely: wait until it has ended, then apply again.",
    ),
    (
        r"[Pp]assword has expired|[Pp]assword change required",
        "{host} lets {user} do nothing before a new password is set",
        "Log in by hand once and set it: ssh {user}@{address}",
    ),
)
# Ansible calls a host unreachable, too, where its disk takes no more.
_REACHED = re.compile(r"mkdir: cannot create directory|No space left on device|Read-only file system")
_OTHER_KEY = re.compile(r"IDENTIFICATION HAS CHANGED|no matching host key type|Host Key checking is enabled")
_NO_KEY = re.compile(r"host key is known for|Host key verification failed")
_SHOWN = re.compile(r"key sent by the remote host is\s+(SHA256:[A-Za-z0-9+/]+)")
_NOISE = re.compile(r"^(Task failed: )?(Data could not be sent to remote host.*?over ssh: ?)?", re.DOTALL)


class LockedOut(Unreachable):
    """A host answers, and no key of ours opens it."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happened, and what to do about it."""

    summary: str
    help: str = ""
    kind: Literal["", "host-key", "locked-out"] = ""


def why_unreachable(login: Login, said: str) -> Trouble:
    """Why a host was not reached, by what ssh said of it."""
    if _OTHER_KEY.search(said) or _NO_KEY.search(said):
        return _key(login, said)
    if re.search(r"Permission denied \(", said):
        return Trouble(
            f"{login.name} does not let {_user(login)} in: no key of yours opens it",
            "`paictl bootstrap` installs a key, given the user's password once. Or correct `user`.",
            kind="locked-out",
        )
    found = _found(_SSH, login, said)
    if found is None:
        return Trouble(
            f"{login.name} can't be reached: {_words(said) or 'ssh did not say why'}",
            f"Try it by hand: ssh -v{f' -p {login.port}' if login.port != 22 else ''} {_user(login)}@{login.address}",
        )
    return found


def not_reached(login: Login, said: str, when: str = "") -> PaictlError:
    """The same as an error; a key that is not the pinned one is no matter of reaching."""
    trouble = why_unreachable(login, said or "Connection lost")
    kind = {"host-key": Refused, "locked-out": LockedOut}.get(trouble.kind, Unreachable)
    return kind(f"{trouble.summary}{f' {when}' if when else ''}", help=trouble.help)


def task_failed(login: Login, task: str, result: Mapping[str, Any]) -> Trouble:
    """Why a task failed on a host that was reached."""
    said = _said(result)
    return _found(_TASKS, login, said) or Trouble(f"{login.name}: {task}: {_words(said) or 'it did not say why'}")


def was_reached(result: Mapping[str, Any]) -> bool:
    """Whether the host let us in, and could not go on. Ansible has its own mind of a full disk, and of a host key."""
    said = _said(result)
    return bool(_REACHED.search(said) or not (result.get("unreachable") or _OTHER_KEY.search(said)))


def wants_password(result: Mapping[str, Any]) -> bool:
    """Whether sudo wanted a password and had none."""
    return "Missing sudo password" in str(result.get("msg", ""))


def nothing_was_said(result: Mapping[str, Any]) -> bool:
    """Whether a task ended before its module began, without a word: what sudo says when it refuses is lost on the way."""
    return "module_stdout" in result and not str(result["module_stdout"]) + str(result.get("module_stderr", ""))


def _key(login: Login, said: str) -> Trouble:
    if not login.host_key:
        return Trouble(
            f"{login.name} is not known yet: no host key of it is pinned",
            "`paictl lock` shows its fingerprint, asks, and pins it into agent.lock.",
            kind="host-key",
        )
    shown = _SHOWN.search(said)
    other = shown[1] if shown else "one of another kind"
    return Trouble(
        f"{login.name} shows another host key than the pinned one: {other} instead of {fingerprint(login.host_key)}",
        "It was installed anew, or somebody else answers in its place: find out which. "
        f"Only if it is yours: `paictl lock --repin {login.name}`.",
        kind="host-key",
    )


def _found(rows: Sequence[_Row], login: Login, said: str) -> Trouble | None:
    where = login.address if login.port == 22 else f"{login.address}, port {login.port}"
    words = {"host": login.name, "user": _user(login), "where": where, "address": login.address}
    return next(
        (
            Trouble(summary.format_map(words), advice.format_map(words))
            for pattern, summary, advice in rows
            if re.search(pattern, said)
        ),
        None,
    )


def _user(login: Login) -> str:
    return login.user or "your user"


def _said(result: Mapping[str, Any]) -> str:
    """Everything that a result holds of words; of a loop, its failed rounds'."""
    rounds = [one for one in result.get("results") or () if isinstance(one, Mapping) and one.get("failed")]
    parts = [str(result.get(key) or "") for key in ("msg", "stderr", "module_stderr", "module_stdout")]
    return "\n".join([part for part in parts if part] + [_said(one) for one in rounds])


def _words(said: str) -> str:
    """The same on one line, the end of it where it is long: what went wrong stands last."""
    text = " ".join(_NOISE.sub("", said).split())
    return text if len(text) <= _MOST_WORDS else f"…{text[-_MOST_WORDS:]}"
