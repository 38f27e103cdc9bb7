"""Proves the room and the door from both sides, against the blueprint, through whichever driver stands it up.

Called by the verb ``verify``. Inside each room it tries what is forbidden and what is allowed; outside, each listener
without a token and with a wrong Host. It judges; the trying inside is done by ``room_probe``. Leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets as random
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from paictl.blueprint.types import Blueprint, Service
from paictl.engine import room_probe
from paictl.engine.driver import Driver, Peer, Reach
from paictl.errors import PaictlError

__all__ = ["Check", "verify"]

# Addresses that RFC 5737 and RFC 3849 keep for documentation: nobody's, so that even a broken room disturbs no one.
_OUTSIDE = (("192.0.2.1", 443), ("198.51.100.1", 53), ("2001:db8::1", 443))
# Where clouds hand out credentials to whoever asks from the machine.
_METADATA = (("169.254.169.254", 80), ("fd00:ec2::254", 80))
_NAMES = ("example.org", "metadata.google.internal")
_PERSONAL = (
    "/etc/shadow",
    "/etc/ssh",
    "/root",
    "/home",
    "/var/run/docker.sock",
    "/run/user",
    # Where the manager is asked. The folder itself, empty, is in every unit's room: systemd brings mounts in by it.
    "/run/systemd/private",
    "/run/systemd/system",
    "/run/systemd/journal",
)
_WRITABLE = ("/", "/usr", "/etc", "/usr/local/bin")
_SECONDS = 5.0
# What a program finds that is told to go no further: no way there at all. A refusal would come from somebody who was reached.
_REACHED = frozenset({"connected", "silence", "Connection refused"})
_LOOPBACK = "127."
_SSH = 22
# As characters of regular expressions, the narrowest first: all that a room is told of what a secret is made of.
_ALPHABETS = ("[A-Za-z0-9_-]", "[!-~]", "[ -~]", ".")
_TCP = "tcp:"
_AT_ONCE = 4
_TOLD = 3


@dataclass(frozen=True, slots=True)
class Check:
    """One thing tried. ``where`` is a room (a service's name) or ``outside``; ``detail`` says what was found."""

    where: str
    tried: str
    passed: bool
    detail: str


def verify(
    driver: Driver, blueprint: Blueprint, reach: Reach, needles: Mapping[str, bytes], private: Sequence[Path] = ()
) -> list[Check]:
    """Every check, in order; the promise holds when all passed.

    ``needles`` are the values that must not be found in any room, by name; ``private`` paths of the person's that must
    not be readable there (the manifest's folder, the state directory, the home).
    """
    checks = list(_outside(blueprint, reach))
    rooms = [service for service in blueprint.services if service.room]
    # Each waits for silences to end.
    with ThreadPoolExecutor(_AT_ONCE) as at_once:
        for found in at_once.map(lambda room: _inside(driver, blueprint, room, needles, private), rooms):
            checks += found
    return checks


def _inside(
    driver: Driver, blueprint: Blueprint, service: Service, needles: Mapping[str, bytes], private: Sequence[Path]
) -> list[Check]:
    peers = [one for one in driver.peers(blueprint) if one.name != service.name]
    doors, strangers = _doors(driver, blueprint, service), _strangers(driver, blueprint, service, peers)
    forbidden = [one for one in peers if one.name not in {*service.neighbours, *_askers(blueprint, service)}]
    _, public = blueprint.public
    addresses = [*_OUTSIDE, *_METADATA, ("127.0.0.1", public.port), *((a, public.port) for a in _own_addresses())]
    asked = {
        "addresses": [*addresses, *(place for one in forbidden for place in _places(blueprint, one))],
        "names": [*_NAMES, *(alias for one in forbidden for alias in one.aliases)],
        "paths": sorted({*_PERSONAL, *map(str, private)}),
        "writable": _WRITABLE,
        "doors": doors,
        "strangers": strangers,
        "needles": [_needle(name, value) for name, value in needles.items() if value],
    }
    script = Path(room_probe.__file__).read_bytes()
    result = driver.run_in_room(blueprint, service.name, ["python", "-I", "-", json.dumps(asked)], stdin=script)
    if result.code != 0:
        raise PaictlError(
            f"the probe could not run in the room of {service.name}: {result.stderr.decode(errors='replace').strip()[-400:]}",
            help="`paictl status` says whether the agent runs; `paictl doctor` looks for the cause.",
        )
    found = json.loads(result.stdout)
    reached = _REACHED - {"silence"} if driver.silent else _REACHED
    checks = [*_judge_outside(service, found, addresses, reached)]
    checks += _judge_peers(blueprint, service, found, forbidden, reached)
    # Software of others is tried by a companion in its room, which has a file system and processes of its own beside it.
    checks += [] if service.upstream else _judge_inside(service, found, doors)
    return [*checks, *_judge_secrets_and_doors(service, found)]


def _judge_outside(
    service: Service, found: Mapping[str, Any], addresses: Sequence[tuple[str, int]], reached: frozenset[str]
) -> Iterator[Check]:
    for host, port in addresses:
        outcome = found["addresses"][f"{host} {port}"]
        kind = "metadata address" if host in dict(_METADATA) else "address"
        yield Check(service.name, f"{kind} {host} {port}", not _reached(host, outcome, reached), outcome)
    for name in _NAMES:
        yield Check(service.name, f"DNS {name}", not found["names"][name], found["names"][name] or "no answer")


def _reached(place: str, outcome: str, reached: frozenset[str]) -> bool:
    """Whether somebody outside the room was there. On its own loopback nobody but itself can refuse."""
    return outcome in (reached - {"Connection refused"} if place.startswith(_LOOPBACK) else reached)


def _judge_peers(
    blueprint: Blueprint,
    service: Service,
    found: Mapping[str, Any],
    forbidden: Sequence[Peer],
    reached: frozenset[str],
) -> Iterator[Check]:
    for peer in forbidden:
        named = {alias: found["names"][alias] for alias in peer.aliases if found["names"][alias]}
        tried = {f"{host} {port}": found["addresses"][f"{host} {port}"] for host, port in _places(blueprint, peer)}
        seen = [f"{alias} is {address}" for alias, address in named.items()]
        seen += [f"{place}: {outcome}" for place, outcome in tried.items() if _reached(place, outcome, reached)]
        nowhere = "neither its name nor an address leads there" if tried else "its name leads nowhere"
        more = [f"and {len(seen) - _TOLD} more"] if len(seen) > _TOLD else []
        yield Check(service.name, f"reach {peer.name}", not seen, ", ".join([*seen[:_TOLD], *more]) or nowhere)


def _judge_secrets_and_doors(service: Service, found: Mapping[str, Any]) -> Iterator[Check]:
    for name, places in found["needles"].items():
        yield Check(service.name, f"secret {name}", not places, ", ".join(places) or "found nowhere")
    for door, outcome in found["strangers"].items():
        # Whoever asks a service shares a network with it, and is protected from it by wanting a token.
        closed = outcome.removeprefix("HTTP ") in {"400", "401", "403", "421"} or not outcome.startswith("HTTP ")
        yield Check(service.name, f"{door.removeprefix(_TCP)} without a token", closed, outcome)
    for door, opened in found["doors"].items():
        said = "answers" if opened else "does not answer"
        yield Check(service.name, f"its own door {door.removeprefix(_TCP)}", opened, said)


def _judge_inside(service: Service, found: Mapping[str, Any], doors: Sequence[str]) -> Iterator[Check]:
    where = service.name
    readable = [path for path, read in found["paths"].items() if read]
    yield Check(where, f"{len(found['paths'])} private paths", not readable, ", ".join(readable) or "none is there")
    writable = [path for path, wrote in found["writable"].items() if wrote]
    yield Check(where, "write to the system", not writable, ", ".join(writable) or "read-only")
    strangers = [line for line in found["processes"] if line and not _of_the_room(line, service)]
    yield Check(where, "other processes", not strangers, "; ".join(strangers)[:200] or "none is seen")
    paths = [door for door in doors if not door.startswith(_TCP)]
    allowed = {*paths, *(path.rpartition("/")[0] for path in paths)}
    extra = [one for one in found["sockets"] if not _is_door(one, allowed, service)]
    yield Check(where, "other sockets", not extra, ", ".join(extra) or "none is seen")


def _of_the_room(line: str, service: Service) -> bool:
    """The sandbox's own first process, the interpreter that runs the probe, and an engine that begins a health check."""
    program = Path(line.split(maxsplit=1)[0]).name
    return line == "runc init" or program in {"bwrap", "sh"} or "python" in program or service.module in line


def _is_door(path: str, allowed: set[str], service: Service) -> bool:
    return any(path.endswith(door) for door in allowed) or f"/run/{service.name}/" in path


def _doors(driver: Driver, blueprint: Blueprint, service: Service) -> list[str]:
    """Where the service may go, as its room has it: ``tcp:HOST:PORT``, or the path of a socket."""
    wiring = driver.wiring(blueprint, service.name)
    return [wiring(*reached.split("/", 1)).removeprefix("unix:") for reached in service.reaches]


def _askers(blueprint: Blueprint, service: Service) -> list[str]:
    """The services that may reach this one."""
    return [one.name for one in blueprint.services if service.name in one.neighbours]


def _strangers(driver: Driver, blueprint: Blueprint, service: Service, peers: Sequence[Peer]) -> list[str]:
    """The doors of who asks this service, where they share a network; none of them is meant for it."""
    wiring, there = driver.wiring(blueprint, service.name), {one.name for one in peers}
    return [
        wiring(name, endpoint.name)
        for name in _askers(blueprint, service)
        for endpoint in blueprint.service(name).endpoints
        if name in there and f"{name}/{endpoint.name}" not in service.reaches
    ]


def _places(blueprint: Blueprint, peer: Peer) -> list[tuple[str, int]]:
    """Each of its addresses with each port that may listen there."""
    _, public = blueprint.public
    ports = {service.name: [one.port for one in service.endpoints] for service in blueprint.services}
    return [(address, port) for address in peer.addresses for port in ports.get(peer.name, [public.port, _SSH])]


def _needle(name: str, value: bytes) -> dict[str, object]:
    salt, base = random.token_hex(16), random.randbelow(room_probe.MODULUS - 256) + 256
    rolling = 0
    for byte in value:
        rolling = (rolling * base + byte) % room_probe.MODULUS
    digest = hashlib.sha256(salt.encode() + value).hexdigest()
    alphabet = next(one for one in _ALPHABETS if re.fullmatch(f"{one}*".encode(), value, re.DOTALL))
    told = {"name": name, "length": len(value), "alphabet": alphabet, "base": base, "rolling": rolling}
    return {**told, "salt": salt, "sha256": digest}


def _own_addresses() -> list[str]:
    """The machine's addresses beside loopback, as far as its name tells them."""
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, family=socket.AF_INET)
    except OSError:
        return []
    return sorted({str(one[4][0]) for one in found} - {"127.0.0.1"})


def _outside(blueprint: Blueprint, reach: Reach) -> Iterator[Check]:
    """The listener for people: closed without the token, and to requests made for another host."""
    _, endpoint = blueprint.public
    tries = {
        "no token": {},
        "a wrong token": {"Authorization": "Bearer wrong"},
        "a wrong Host": {"Authorization": f"Bearer {reach.token}", "Host": "attacker.example"},
        "a wrong Origin": {"Authorization": f"Bearer {reach.token}", "Origin": "https://attacker.example"},
    }
    with httpx.Client(base_url=reach.url, timeout=_SECONDS, trust_env=False) as client:
        for path in ("/v1/models", "/status", "/metrics"):
            for what, headers in tries.items():
                code = client.get(path, headers=headers).status_code
                yield Check("outside", f"{path} with {what}", code in {400, 401, 403, 421}, f"HTTP {code}")
        code = client.get("/v1/models", headers={"Authorization": f"Bearer {reach.token}"}).status_code
        yield Check("outside", "/v1/models with the token", code == 200, f"HTTP {code}")
    loopback = endpoint.bind in {"127.0.0.1", "::1", "localhost"}
    yield Check(
        "outside", "listens on", True, f"{endpoint.bind}:{endpoint.port}" + ("" if loopback else ", as declared")
    )
