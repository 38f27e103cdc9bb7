"""What the agent's databases lose when somebody pulls the power cord of a host: nothing that was answered for."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

import paictl
from tests.hosts.host import Host
from tests.hosts.playing import put

pytestmark = [pytest.mark.hosts, pytest.mark.slow]

# The gateway's own module, with what it imports; the host has Debian's Python and nothing else.
_MODULES = (
    "annotated_types",
    "anyio",
    "apsw",
    "idna",
    "pydantic",
    "pydantic_core",
    "sniffio",
    "starlette",
    "typing_extensions",
    "typing_inspection",
)
_WHERE = "/opt/power"
_PYTHON_OF_DEBIAN_12 = (3, 11)
# Ends as a process does whose machine stops: nothing is closed, so nothing is synced in passing.
_REMEMBER = """
import os, sys
from pathlib import Path
from paictl.runtime.gateway.database import connect
connection = connect(Path("/var/lib/power/memory.sqlite"), lasting=True)
connection.execute("CREATE TABLE IF NOT EXISTS facts (fact TEXT)")
for number in range(100):
    with connection:
        connection.execute("INSERT INTO facts VALUES (?)", (f"fact {number}",))
print("remembered", flush=True)
os._exit(0)
"""
_RECALL = """
from pathlib import Path
from paictl.runtime.gateway.database import connect
connection = connect(Path("/var/lib/power/memory.sqlite"), lasting=True)
print(*connection.execute("SELECT count(*) FROM facts").fetchone(), *connection.execute("PRAGMA integrity_check").fetchone())
"""


def _files() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    places = [Path(paictl.__file__).parent]
    for name in _MODULES:
        spec = importlib.util.find_spec(name)
        if spec is not None:
            folders = spec.submodule_search_locations or [spec.origin or ""]
            places += [Path(folder) for folder in folders]
    for place in places:
        for file in [place] if place.is_file() else place.rglob("*"):
            if file.is_file() and file.suffix in {".py", ".so", ".toml"}:
                found[f"{_WHERE}/{file.relative_to(place.parent)}"] = file.read_bytes()
    return found


@pytest.mark.skipif(
    sys.version_info[:2] != _PYTHON_OF_DEBIAN_12, reason="compiled modules are for the host's Python only"
)
def test_what_was_remembered_when_the_power_went_is_remembered(host: Host) -> None:
    put(host, _files())
    host.exec(["sh", "-c", "mkdir -p /var/lib/power; sync"])
    python = ["env", f"PYTHONPATH={_WHERE}", "PYTHONDONTWRITEBYTECODE=1", "python3", "-c"]
    assert host.exec([*python, _REMEMBER]) == "remembered\n"
    host.lose_power()
    host.power_on()
    assert host.exec([*python, _RECALL]) == "100 ok\n"
