"""What a plan that finds nothing to do costs on hosts over ssh, beside ansible-playbook doing nothing there but gather facts.

Applies the Raspberry Pi's example to a host that the tests can have, and to ten of them at once.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.process import Command, in_turns
from bench.table import Lacking, Row
from tests.hosts import host as one
from tests.hosts import needs
from tests.hosts.home import HostHome
from tests.hosts.host import Host
from tests.hosts.lan import Lan, leased
from tests.story.home import PAICTL

__all__ = ["idle_plan", "only_facts", "run"]

_RUNS = 5
_MANY = 10
_DECLARED = "{address: raspberrypi.local, user: pi}"


def run() -> list[Row]:
    """The rows about hosts; raises ``Lacking`` where none can be had."""
    needs.install()
    if reason := needs.lacking():
        raise Lacking(reason)
    with leased() as lan, tempfile.TemporaryDirectory() as single, tempfile.TemporaryDirectory() as several:
        alone = _applied(_hosts(lan, "one", 1), Path(single))
        together = _applied(_hosts(lan, "many", _MANY), Path(several))
        return _rows(alone, together)


def _hosts(lan: Lan, name: str, count: int) -> list[Host]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda number: one.begin(lan, f"{name}{number}"), range(count)))


def _applied(hosts: Sequence[Host], folder: Path) -> HostHome:
    """The example, on the first of them; the others are made fit to be lived on."""
    home = HostHome(folder, agent="hearth", host=hosts[0])
    home.copy("raspberry-pi")
    home.edit("profile: raspberry-pi-5\n", "profile: raspberry-pi-5\n      system: {zram: 0}\n")
    # One password for all is what people have at home; here each has its own.
    secrets = "".join(f"    {host.name}: {{from: env, name: {_variable(host)}}}\n" for host in hosts)
    home.edit("spec:\n", f"spec:\n  secrets:\n{secrets}")
    home.edit(f"        pi5: {_DECLARED}\n", "".join(map(_declared, hosts)))
    home.environment |= {_variable(host): host.password for host in hosts}
    home.run("bootstrap", "--trust-host-keys")
    home.run("apply", "--yes")
    return home


def _declared(host: Host) -> str:
    login = f"address: {host.address}, user: {host.user}, password: {host.name}, become_password: {host.name}, offline: true"
    return f"        {host.name}: {{{login}}}\n"


def _variable(host: Host) -> str:
    return f"PASSWORD_OF_{host.name.upper()}"


def _rows(alone: HostHome, together: HostHome) -> list[Row]:
    plan, facts, many = in_turns(idle_plan(alone), only_facts(alone, alone.there.name), idle_plan(together), runs=_RUNS)
    what = "no-op plan, ansible"
    return [
        Row(f"{what}, one host, wall, of an empty `ansible-playbook` with facts", plan.wall / facts.wall, "", 1.3),
        Row(f"{what}, {_MANY} hosts, wall, of one host", many.wall / plan.wall, "", 2.0),
        Row(f"{what}, one host, wall", plan.wall, "s"),
        Row(f"{what}, one host, CPU", plan.cpu, "s"),
        Row(f"{what}, {_MANY} hosts, wall", many.wall, "s"),
        Row(f"{what}, {_MANY} hosts, CPU", many.cpu, "s"),
        Row("empty `ansible-playbook` with facts, one host, wall", facts.wall, "s"),
        Row("agent + gateway resident, idle, profile raspberry-pi-5", _resident(alone) / 1e6, "MB", 250),
    ]


def idle_plan(home: HostHome) -> Command:
    """The plan of an agent that stands as it should."""
    return Command((PAICTL, "plan", "--detailed-exitcode"), home.manifest.parent, home.surroundings())


def only_facts(home: HostHome, name: str) -> Command:
    """A playbook without a task, over a connection that is kept from run to run, as paictl's is; ``name``: the host's in the manifest."""
    host, folder = home.there, home.folder / "facts"
    folder.mkdir()
    (key,) = (home.folder / "state").rglob(f"{name}.ed25519")
    (folder / "known_hosts").write_text(f"{host.address} {host.host_key}\n", encoding="ascii")
    (folder / "ansible.cfg").write_text("[ssh_connection]\npipelining = True\n", encoding="ascii")
    login = {
        "ansible_host": host.address,
        "ansible_user": host.user,
        "ansible_become_password": host.password,
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={folder}/known_hosts",
    }
    (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": {host.name: login}}}), encoding="utf-8")
    play = [{"hosts": "all", "become": True, "gather_facts": True, "tasks": []}]
    (folder / "facts.json").write_text(json.dumps(play), encoding="utf-8")
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    environment = {**os.environ, "ANSIBLE_HOME": str(folder / "home")}
    return Command((program, "-i", "inventory.json", "facts.json"), folder, environment)


def _resident(home: HostHome) -> int:
    """In bytes, of the programs themselves."""
    units = [f"paictl-{home.agent}-{service}.service" for service in ("agent", "gateway")]
    pids = home.there.exec(["systemctl", "show", "--value", "--property=MainPID", *units]).split()
    told = home.there.exec(["grep", "-h", "VmRSS", *(f"/proc/{pid}/status" for pid in pids)])
    return sum(int(line.split()[1]) for line in told.splitlines()) * 1024
