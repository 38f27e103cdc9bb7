"""Proves the room and the door from both sides, against the blueprint, through whichever driver stands it up.

Called by the verb ``verify``. Inside each room it tries what is forbidden and what is allowed; outside, each listener
without a token and with a wrong Host. It judges; the trying inside is done by ``room_probe``. Leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import json
import secrets as random
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from paictl.blueprint.types import Blueprint, Service
from paictl.engine import room_probe
from paictl.engine.driver import Driver, Reach
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
    "/run/systemd",
)
_WRITABLE = ("/", "/usr", "/etc", "/usr/local/bin")
_SECONDS = 5.0


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
    for service in blueprint.services:
        if service.room:
            checks += _inside(driver, blueprint, service, needles, private)
    return checks


def _inside(
    driver: Driver, blueprint: Blueprint, service: Service, needles: Mapping[str, bytes], private: Sequence[Path]
) -> list[Check]:
    doors = _doors(driver, blueprint, service)
    _, public = blueprint.public
    asked = {
        "addresses": [*_OUTSIDE, *_METADATA, ("127.0.0.1", public.port), *((a, public.port) for a in _own_addresses())],
        "names": _NAMES,
        "paths": sorted({*_PERSONAL, *map(str, private)}),
        "writable": _WRITABLE,
        "doors": doors,
        "needles": [_needle(name, value) for name, value in needles.items() if value],
    }
    script = Path(room_probe.__file__).read_bytes()
    result = driver.run_in_room(blueprint, service.name, ["python", "-I", "-", json.dumps(asked)], stdin=script)
    if result.code != 0:
        raise PaictlError(
            f"the probe could not run in the room of {service.name}: {result.stderr.decode(errors='replace').strip()[-400:]}",
            help="`paictl status` says whether the agent runs; `paictl doctor` looks for the cause.",
        )
    return list(_judge(service, json.loads(result.stdout), doors))


def _judge(service: Service, found: Mapping[str, Any], doors: Sequence[str]) -> Iterator[Check]:
    where = service.name
    for address, outcome in found["addresses"].items():
        kind = "metadata address" if address.split()[0] in dict(_METADATA) else "address"
        yield Check(where, f"{kind} {address}", outcome not in {"connected", "silence"}, outcome)
    for name, address in found["names"].items():
        yield Check(where, f"DNS {name}", not address, address or "no answer")
    readable = [path for path, read in found["paths"].items() if read]
    yield Check(where, f"{len(found['paths'])} private paths", not readable, ", ".join(readable) or "none is there")
    writable = [path for path, wrote in found["writable"].items() if wrote]
    yield Check(where, "write to the system", not writable, ", ".join(writable) or "read-only")
    strangers = [line for line in found["processes"] if line and not _of_the_room(line, service)]
    yield Check(where, "other processes", not strangers, "; ".join(strangers)[:200] or "none is seen")
    allowed = {*doors, *(door.rpartition("/")[0] for door in doors)}
    extra = [one for one in found["sockets"] if not _is_door(one, allowed, service)]
    yield Check(where, "other sockets", not extra, ", ".join(extra) or "none is seen")
    for name, places in found["needles"].items():
        yield Check(where, f"secret {name}", not places, ", ".join(places) or "found nowhere")
    for door, opened in found["doors"].items():
        yield Check(where, f"its own door {door}", opened, "answers" if opened else "does not answer")


def _of_the_room(line: str, service: Service) -> bool:
    """The sandbox's own first process, and the interpreter that runs the probe."""
    program = Path(line.split(maxsplit=1)[0]).name
    return program in {"bwrap", "sh"} or "python" in program or service.module in line


def _is_door(path: str, allowed: set[str], service: Service) -> bool:
    return any(path.endswith(door) for door in allowed) or f"/run/{service.name}/" in path


def _doors(driver: Driver, blueprint: Blueprint, service: Service) -> list[str]:
    """The sockets that the service may reach, as paths in its room."""
    wiring = driver.wiring(blueprint, service.name)
    addresses = [wiring(*reached.split("/", 1)) for reached in service.reaches]
    return [address.removeprefix("unix:") for address in addresses if address.startswith("unix:")]


def _needle(name: str, value: bytes) -> dict[str, object]:
    salt, base = random.token_hex(16), random.randbelow(room_probe.MODULUS - 256) + 256
    rolling = 0
    for byte in value:
        rolling = (rolling * base + byte) % room_probe.MODULUS
    digest = hashlib.sha256(salt.encode() + value).hexdigest()
    return {"name": name, "length": len(value), "base": base, "rolling": rolling, "salt": salt, "sha256": digest}


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
