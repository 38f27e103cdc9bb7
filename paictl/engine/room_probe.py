"""Tries the forbidden from inside a room and prints what happened as JSON. Runs there, alone: the standard library only.

``verify`` sends this file's text to the interpreter in the room on standard input, with one JSON argument::

    {"addresses": [[HOST, PORT], …], "names": [NAME, …], "paths": [PATH, …], "writable": [PATH, …],
     "doors": [PATH, …], "needles": [{"name", "length", "base", "rolling", "salt", "sha256"}, …]}

A needle is a secret that must not be found here. Its value is not told: windows of its length are compared by a rolling
hash first and by a salted SHA-256 then, so that looking for a secret does not bring it into the room.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import sys
from collections.abc import Iterator
from typing import Any

MODULUS = (1 << 61) - 1
# A container's room says `No route to host` after three seconds; only what is silent for longer has left.
_SECONDS = 4.0
_MAX_FILE = 8 << 20
_MAX_TOTAL = 64 << 20
# Read-only software that the room needs to run, identical for everybody: no secret of the person's can be in it.
_SOFTWARE = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/proc", "/sys", "/dev")


def connect(host: str, port: int) -> str:
    """Try a TCP connection; the name of what stopped it, or ``connected``. Silence means that packets left."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        attempt.settimeout(_SECONDS)
        try:
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
    length, base = needle["length"], needle["base"]
    if length > len(content):
        return False
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
    hay = list(haystacks()) if asked["needles"] else []
    json.dump(
        {
            "addresses": {f"{host} {port}": connect(host, port) for host, port in asked["addresses"]},
            "names": {name: lookup(name) for name in asked["names"]},
            "paths": {path: reads(path) for path in asked["paths"]},
            "writable": {path: writes(path) for path in asked["writable"]},
            "doors": {path: _opens(path) for path in asked["doors"]},
            "sockets": sockets(),
            "processes": processes(),
            "needles": {
                needle["name"]: [path for path, content in hay if contains(content, needle)]
                for needle in asked["needles"]
            },
        },
        sys.stdout,
    )


def _opens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as attempt:
        attempt.settimeout(_SECONDS)
        try:
            attempt.connect(path)
        except OSError:
            return False
    return True


if __name__ == "__main__":
    main()
