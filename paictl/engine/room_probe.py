"""Tries the forbidden from inside a room and prints what happened as JSON. Runs there, alone: the standard library only.

``verify`` sends this file's text to the interpreter in the room on standard input, with one JSON argument::

    {"addresses": [[HOST, PORT], …], "names": [NAME, …], "paths": [PATH, …], "writable": [PATH, …],
     "doors": [DOOR, …], "strangers": [DOOR, …],
     "needles": [{"name", "length", "alphabet", "base", "rolling", "salt", "sha256"}, …]}

A door is the path of a socket or ``tcp:HOST:PORT``. A stranger's is not meant for this room: of it the answer is the status
that it gives to whoever says no more than hello.

A needle is a secret that must not be found here. Its value is not told: where there are enough characters of its ``alphabet``
in a row, windows of its length are compared by a rolling hash first and by a salted SHA-256 then, so that looking for a secret
does not bring it into the room.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import socket
import stat
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

MODULUS = (1 << 61) - 1
# A container's room says `No route to host` after three seconds, on a busy machine later; only what is silent for longer has left.
_SECONDS = 8.0
# Most attempts wait for a silence to end.
_AT_ONCE = 32
_MAX_FILE = 8 << 20
_MAX_TOTAL = 256 << 20
# Read-only software that the room needs to run, identical for everybody: no secret of the person's can be in it.
_SOFTWARE = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/proc", "/sys", "/dev")


def connect(host: str, port: int) -> str:
    """Try a TCP connection; the name of what stopped it, or ``connected``. Silence means that packets left."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # A room may forbid to make a socket of that family at all.
        with socket.socket(family, socket.SOCK_STREAM) as attempt:
            attempt.settimeout(_SECONDS)
            attempt.connect((host, port))
    except TimeoutError:
        return "silence"
    except OSError as error:
        return error.strerror or type(error).__name__
    return "connected"


def lookup(name: str) -> str:
    """Try to resolve a name; an address means that a resolver answered."""
    try:
        return str(socket.getaddrinfo(name, 443)[0][4][0])
    except OSError:
        return ""


def opens(door: str) -> bool:
    """Whether somebody answers there."""
    if door.startswith("tcp:"):
        host, _, port = door.removeprefix("tcp:").rpartition(":")
        try:
            socket.create_connection((host, int(port)), _SECONDS).close()
        except OSError:
            return False
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as attempt:
        attempt.settimeout(_SECONDS)
        try:
            attempt.connect(door)
        except OSError:
            return False
    return True


def greets(door: str) -> str:
    """What an HTTP server says to a request without any credential: its status, or what stopped the request."""
    host, _, port = door.removeprefix("tcp:").rpartition(":")
    attempt = http.client.HTTPConnection(host, int(port), timeout=_SECONDS)
    try:
        attempt.request("GET", "/")
        return f"HTTP {attempt.getresponse().status}"
    except (OSError, http.client.HTTPException) as error:
        return getattr(error, "strerror", None) or type(error).__name__
    finally:
        attempt.close()


def reads(path: str) -> bool:
    """Whether anything can be read at the path."""
    try:
        if os.path.isdir(path):
            return bool(os.listdir(path))
        with open(path, "rb") as file:
            return bool(file.read(1))
    except OSError:
        return False


def writes(folder: str) -> bool:
    """Whether a file can be made in the folder; it is removed again."""
    probe = os.path.join(folder, f".probe-{os.getpid()}")
    try:
        with open(probe, "xb"):
            pass
        os.unlink(probe)
    except OSError:
        return False
    return True


def sockets() -> list[str]:
    """Every Unix socket that can be seen, by path or in the abstract namespace."""
    found = [path for path in walk() if _is_socket(path)]
    try:
        with open("/proc/net/unix", encoding="utf-8") as table:
            found += [line.split()[-1] for line in table if len(line.split()) == 8 and line.split()[-1].startswith("@")]
    except OSError:
        pass
    return found


def processes() -> list[str]:
    """The command line of every process that can be seen, but this one."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    found.append(file.read().replace(b"\0", b" ").decode(errors="replace").strip())
            except OSError:
                continue
    return found


def haystacks() -> Iterator[tuple[str, bytes]]:
    """Everything a program here can read that is not software: environments, command lines, files."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            for name in ("environ", "cmdline"):
                yield f"/proc/{entry}/{name}", _content(f"/proc/{entry}/{name}")
    total = 0
    for path in walk():
        content = _content(path)
        total += len(content)
        if total > _MAX_TOTAL:
            return
        yield path, content


def contains(content: bytes, needle: dict[str, Any]) -> bool:
    """Whether the needle stands anywhere in the content (Karp and Rabin 1987, then SHA-256 to be sure)."""
    # What is not text is passed over at once: hashing each byte of a model file would take a minute.
    runs = re.finditer(b"%b{%d,}" % (needle["alphabet"].encode("ascii"), needle["length"]), content, re.DOTALL)
    return any(_rolls_over(run[0], needle) for run in runs)


def _rolls_over(content: bytes, needle: dict[str, Any]) -> bool:
    length, base = needle["length"], needle["base"]
    lead = pow(base, length - 1, MODULUS)
    rolling = 0
    for byte in content[:length]:
        rolling = (rolling * base + byte) % MODULUS
    for start in range(len(content) - length + 1):
        if rolling == needle["rolling"]:
            window = content[start : start + length]
            if hashlib.sha256(needle["salt"].encode() + window).hexdigest() == needle["sha256"]:
                return True
        if start + length < len(content):
            rolling = ((rolling - content[start] * lead) * base + content[start + length]) % MODULUS
    return False


def search(needles: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Where each of them stands, by its name."""
    places: dict[str, list[str]] = {needle["name"]: [] for needle in needles}
    for path, content in haystacks() if needles else ():
        for needle in needles:
            if contains(content, needle):
                places[needle["name"]].append(path)
    return places


def walk() -> Iterator[str]:
    """Every path that is not software, without following links."""
    software = {*_SOFTWARE, sys.base_prefix, sys.prefix, sys.base_exec_prefix}
    for folder, folders, files in os.walk("/"):
        folders[:] = [one for one in folders if os.path.join(folder, one) not in software]
        yield from (os.path.join(folder, one) for one in files)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False


def _content(path: str) -> bytes:
    try:
        if path.startswith("/proc/") or stat.S_ISREG(os.lstat(path).st_mode):
            with open(path, "rb") as file:
                return file.read(_MAX_FILE)
    except OSError:
        pass
    return b""


def main() -> None:
    """Do what the argument asks and print the findings."""
    asked = json.loads(sys.argv[1])
    with ThreadPoolExecutor(_AT_ONCE) as at_once:
        connected = at_once.map(lambda one: connect(*one), asked["addresses"])
        found = at_once.map(lookup, asked["names"])
        greeted = at_once.map(greets, asked["strangers"])
        opened = at_once.map(opens, asked["doors"])
    json.dump(
        {
            "addresses": {
                f"{host} {port}": said for (host, port), said in zip(asked["addresses"], connected, strict=True)
            },
            "names": dict(zip(asked["names"], found, strict=True)),
            "strangers": dict(zip(asked["strangers"], greeted, strict=True)),
            "doors": dict(zip(asked["doors"], opened, strict=True)),
            "paths": {path: reads(path) for path in asked["paths"]},
            "writable": {path: writes(path) for path in asked["writable"]},
            "sockets": sockets(),
            "processes": processes(),
            "needles": search(asked["needles"]),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
