"""Roles on a host as the driver plays them: over ssh, with the password, through sudo. For the tests of roles."""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from paictl.drivers.ansible.hearing import HostRun
from paictl.drivers.ansible.hosts import Hosts, Login
from paictl.drivers.ansible.running import run
from tests.hosts.host import Host

__all__ = ["changed", "play", "put"]


def play(
    host: Host,
    role: str,
    variables: Mapping[str, object],
    *,
    tasks: str = "main",
    check: bool = False,
    files: Mapping[str, str | bytes | Path] | None = None,
) -> HostRun:
    """One file of tasks of a role, with these variables, on this host."""
    login = Login(host.name, host.address, host.user, host.port, host.host_key)
    hosts = Hosts({host.name: login}, lambda _name, _use: _password(host, _use), host.directory / "state")
    included = {
        "name": f"Play {role}",
        "ansible.builtin.include_role": {"name": role, "tasks_from": tasks},
        "vars": dict(variables),
    }
    told = {"hosts": "all", "become": True, "gather_facts": False, "tasks": [included]}
    try:
        return run(hosts, [told], check=check, files=files or {})[host.name]
    finally:
        # The next play on another host may have the same address.
        hosts.close()


def changed(played: HostRun) -> list[str]:
    """The names of the tasks that changed something; fails when the play did."""
    assert played.ok, f"{played.unreachable}{played.failed} {played.help}"
    return [name for name, result in played.results.items() if _changed(result)]


def put(host: Host, files: Mapping[str, bytes], where: str = "/") -> None:
    """Files on the host, root's, readable and executable by all."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    host.exec(
        ["sh", "-ec", f"mkdir -p {where}; base64 -d | tar -x --no-same-owner -C {where}"],
        base64.b64encode(packed.getvalue()).decode(),
    )


def _password(host: Host, use: Literal["login", "become", "asked"]) -> str | None:
    return None if use == "asked" else host.password


def _changed(result: Mapping[str, Any]) -> bool:
    return bool(result.get("changed"))
