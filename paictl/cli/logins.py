"""The hosts of a manifest's target, as their driver is told of them: logins, pinned keys, passwords that people or secrets know.

Called by ``session`` and by the verbs that may meet a host for the first time. Only ``pin`` writes: into ``agent.lock``.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from paictl import places
from paictl.errors import PaictlError, Refused, UsageError
from paictl.manifest.lock import LockedHost, LockedTarget
from paictl.manifest.lockfile import Lock, read_lock, write_lock

if TYPE_CHECKING:
    from paictl.cli.console.terminal import Terminal
    from paictl.drivers.ansible.hosts import Hosts, Login
    from paictl.manifest.load import Manifest

__all__ = ["Asked", "FirstLogin", "Pinning", "ask_before", "hosts_of", "pin"]

_HERE = "localhost"
_PORT = 22
_SECONDS = 30
_COMPARE = "Compare it with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on the host."


@dataclass
class Asked:
    """The passwords of one run: from the secrets that the manifest names, else from the person, once. Never kept.

    A host is opened by a key: of passwords only sudo's are told, but to ``FirstLogin``.
    """

    terminal: Terminal
    manifest: Manifest
    _known: dict[tuple[str, str], str] = field(default_factory=dict, init=False, repr=False)
    _one: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __call__(self, host: str, use: Literal["login", "become", "asked"]) -> str | None:
        """What is known, and with ``asked`` what the person says when somebody is there."""
        if use == "login":
            return None
        question = f"{host}: the password that sudo asks for" if use == "asked" else ""
        with self._one:
            return self._find(host, "become_password", question) or self._find(host, "password")

    def login(self, host: str, user: str) -> str | None:
        """The password of a login; it is most often what sudo asks for, too."""
        with self._one:
            return self._find(host, "password", f"{host}: the password of {user or 'your user'}")

    def _find(self, host: str, word: Literal["password", "become_password"], question: str = "") -> str | None:
        from paictl.cli.resolution import read_secret

        if (host, word) in self._known:
            return self._known[host, word]
        declared = self.manifest.target_spec.hosts.get(host)
        name = getattr(declared, word) if declared else None
        if name is not None:
            self._known[host, word] = read_secret(self.manifest, name).decode()
        elif question and self.terminal.can_ask and (host, "password") not in self._known:
            self._known[host, word] = self.terminal.secret(question)
        return self._known.get((host, word))


@dataclass(frozen=True)
class FirstLogin:
    """The same, and the password of the login as well: for the one time when no key opens the host yet."""

    asked: Asked

    def __call__(self, host: str, use: Literal["login", "become", "asked"]) -> str | None:
        """What is known."""
        return self.asked.login(host, "") if use == "login" else self.asked(host, use)


def hosts_of(manifest: Manifest, passwords: Asked) -> Hosts:
    """The manifest's hosts, and those that were taken out of it while something of the standing release is on them."""
    from paictl.drivers.ansible.hosts import Hosts, Login

    spec, known, standing = manifest.target_spec.hosts, _locked(manifest), _standing(manifest)
    gone = {name: host for name, host in known.items() if name not in spec and name in standing}
    declared = {
        name: LockedHost(known[name].key if name in known else "", host.address, host.user or "", host.port)
        for name, host in spec.items()
    }
    logins = {name: _login(name, host) for name, host in (declared | gone).items()}
    logins |= {name: replace(logins[name], offline=True) for name, host in spec.items() if host.offline}
    if not spec or (_HERE in standing and _HERE not in spec):
        logins[_HERE] = Login(_HERE, local=True)
    state = places.state_home() / manifest.agent.metadata.name / manifest.target / "hosts"
    return Hosts(logins, passwords, state)


def ask_before(hosts: Hosts) -> None:
    """Have every password asked for that sudo is going to want, before anything else is written to the terminal."""
    unknown = [
        login.name
        for login in hosts.logins.values()
        if (os.geteuid() if login.local else login.host_key and login.user != "root")
        and hosts.passwords(login.name, "become") is None
    ]
    with ThreadPoolExecutor(max_workers=len(unknown) or 1) as pool:
        answers = zip(unknown, pool.map(partial(_wants, hosts), unknown), strict=True)
        wanting = [name for name, wants in answers if wants]
    for name in wanting:
        hosts.passwords(name, "asked")


def _wants(hosts: Hosts, name: str) -> bool:
    """Whether sudo of a host wants a password. A host that is not reached is told of by whoever needs it."""
    with suppress(OSError, subprocess.TimeoutExpired):
        way = ["sh", "-c"] if hosts.logins[name].local else hosts.ssh(name)
        argv = [*way, "LC_ALL=C sudo -n true"]
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        return "password is required" in done.stderr
    return False


@dataclass(frozen=True)
class Pinning:
    """What may be done about keys. ``again``: hosts whose pinned key is to be replaced; ``forget``: those to be let go of."""

    trust: bool = False
    again: Collection[str] = ()
    forget: Collection[str] = ()
    locked: bool = False


def pin(manifest: Manifest, terminal: Terminal, rules: Pinning) -> None:
    """Write into the lock which key each host of the manifest has, after a person has agreed to it."""
    from paictl.cli.resolution import lock_path

    path = lock_path(manifest)
    lock = read_lock(path)
    target = lock.targets.get(manifest.target, LockedTarget())
    spec = manifest.target_spec.hosts
    _known_names("--repin", rules.again, spec)
    _known_names("--forget", rules.forget, target.hosts.keys() - spec.keys())
    stay = {*spec, *_standing(manifest)} - {*rules.forget}
    kept = {name: host for name, host in target.hosts.items() if name in stay and name not in rules.again}
    new = {name: host for name, host in spec.items() if name not in kept}
    if new and rules.locked:
        raise Refused(
            f"agent.lock does not say which key {', '.join(new)} has",
            help="`paictl lock` pins it; --locked only refuses to.",
        )
    declared = {name: LockedHost("", host.address, host.user or "", host.port) for name, host in spec.items()}
    keys = _agreed({name: _login(name, declared[name]) for name in new}, target.hosts, terminal, rules)
    pinned = {name: replace(host, key=keys.get(name) or kept[name].key) for name, host in declared.items()}
    after = Lock({**lock.targets, manifest.target: replace(target, hosts={**kept, **pinned})})
    if after != lock:
        write_lock(path, after)


def _known_names(flag: str, names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(
                f"{flag}: there is no host {name!r} for it", help=f"There are: {', '.join(known) or 'none'}."
            )


def _agreed(
    logins: Mapping[str, Login], before: Mapping[str, LockedHost], terminal: Terminal, rules: Pinning
) -> dict[str, str]:
    """The keys that these hosts show, each of which somebody agreed to."""
    from paictl.drivers.ansible.host_keys import shown_key

    with ThreadPoolExecutor(max_workers=len(logins) or 1) as pool:
        shown = dict(zip(logins, pool.map(shown_key, logins.values()), strict=True))
    for name, key in shown.items():
        if name not in before or before[name].key != key:
            _agree(logins[name], key, before.get(name), terminal, rules)
    return shown


def _agree(login: Login, key: str, before: LockedHost | None, terminal: Terminal, rules: Pinning) -> None:
    from paictl.drivers.ansible.fingerprints import fingerprint

    kind = key.partition(" ")[0].removeprefix("ssh-").upper()
    where = f"{login.name} ({login.address}{f', port {login.port}' if login.port != _PORT else ''})"
    said = f"{where} shows the host key {kind} {fingerprint(key)}"
    if before is not None:
        said += f" and not {fingerprint(before.key)} as before"
    if rules.trust and before is None:
        terminal.note(f"{said}; pinned.")
    elif not terminal.can_ask:
        again = f" --repin {login.name}" if before else ""
        otherwise = "" if before else ", or say --trust-host-keys"
        advice = f"{_COMPARE} Then run `paictl lock{again}` on a terminal{otherwise}."
        raise Refused(f"{said}, and nobody is there to compare it", help=advice)
    elif not terminal.ask(f"{said}.\n{_COMPARE}\nIs it that one?"):
        raise Refused(f"you said no to the host key of {login.name}; nothing was changed")


def _login(name: str, host: LockedHost) -> Login:
    from paictl.drivers.ansible.hosts import Login

    return Login(name, host.address, host.user, host.port, host.key)


def _locked(manifest: Manifest) -> Mapping[str, LockedHost]:
    from paictl.cli.resolution import lock_path

    return read_lock(lock_path(manifest)).targets.get(manifest.target, LockedTarget()).hosts


def _standing(manifest: Manifest) -> set[str]:
    """The hosts on which the newest release that is kept has put something."""
    from paictl.engine.releases import Releases

    folder = places.state_home() / manifest.agent.metadata.name / manifest.target / "releases"
    releases = Releases(folder, manifest.target)
    numbers = releases.numbers()
    try:
        newest = releases.find(numbers[-1]) if numbers else None
    except PaictlError:
        return set()
    return {resource.place for resource in newest.resources if resource.place} if newest else set()
