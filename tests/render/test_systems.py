"""What a manifest says of a host's system reaches the role `base` in the role's own words."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from paictl.assets import asset
from paictl.blueprint.systems import HostSystem, host_system
from paictl.manifest.load import load
from paictl.render.systems import base_vars

_MANIFEST = """\
apiVersion: pai/v1alpha1
kind: Agent
metadata: {name: atlas, owner: alice}
spec:
  targets:
    pi: {driver: ansible, profile: PROFILE, hosts: {pi: {address: pi.lan}}, system: SYSTEM}
  models:
    chat: {task: chat, select: {}}
"""
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGL3R0TqKq1rJxJ9cSkHGoJmVqU7ZV0h2s4xLrEo2b1P alice@laptop"


def _vars(folder: Path, profile: str, system: str) -> dict[str, object]:
    text = _MANIFEST.replace("PROFILE", profile).replace("SYSTEM", system)
    (folder / "agent.yaml").write_text(text, encoding="utf-8")
    return dict(base_vars(host_system(load(["agent.yaml"], env={}, cwd=folder))))


def test_nothing_said_tells_the_role_nothing() -> None:
    assert base_vars(HostSystem()) == {}


@pytest.mark.parametrize("profile", ["raspberry-pi-4", "raspberry-pi-5"])
def test_a_pi_spares_its_card(tmp_path: Path, profile: str) -> None:
    told = _vars(tmp_path, profile, "{}")
    assert told["base_journal_volatile"] is True
    assert told["base_zram_percent"] == 50
    assert told["base_swappiness"] == 100


def test_everything_said_reaches_the_role_and_is_one_of_its_variables(tmp_path: Path) -> None:
    system = (
        f"{{timezone: Europe/Berlin, locale: de_DE.UTF-8, packages: [htop], admins: {{alice: ['{_KEY}']}}, "
        "security_updates: false, journal: {size: 1GiB, keep: memory}, zram: 25, swappiness: 0}"
    )
    told = _vars(tmp_path, "vps", system)
    specs = YAML(typ="safe", pure=True).load(asset("roles") / "base/meta/argument_specs.yml")
    assert set(told) <= set(specs["argument_specs"]["main"]["options"])
    assert told == {
        "base_timezone": "Europe/Berlin",
        "base_locale": "de_DE.UTF-8",
        "base_packages": ["ca-certificates", "unattended-upgrades", "htop"],
        "base_admins": [{"name": "alice", "authorized_keys": [_KEY]}],
        "base_unattended_upgrades": False,
        "base_journal_size": "1024M",
        "base_journal_volatile": True,
        "base_zram_percent": 25,
        "base_swappiness": 0,
    }


def test_the_roles_own_packages_are_those_that_paictl_adds_to() -> None:
    defaults = YAML(typ="safe", pure=True).load(asset("roles") / "base/defaults/main.yml")
    told = base_vars(HostSystem(packages=("htop",)))
    assert told["base_packages"] == [*defaults["base_packages"], "htop"]
