"""The ansible driver's plain files: inventory, playbook, variables, roles and hardened systemd units. Pure; called by `paictl render`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from paictl.assets import asset
from paictl.blueprint.types import Blueprint
from paictl.render.containers import listing, model_folders
from paictl.render.environment import environment
from paictl.render.layout import HERE, lib_of
from paictl.render.roles import ROLES, code, hosts_of, role_vars
from paictl.render.units import placed, target, units

__all__ = ["files"]


def files(blueprint: Blueprint) -> Mapping[str, str]:
    """Path -> text of everything that `ansible-playbook playbook.yaml` needs but the declared secrets' values."""
    names = tuple(one.name for one in blueprint.hosts) or (HERE,)
    hosts_by_role = {role: hosts for role in ROLES if (hosts := hosts_of(blueprint, role))}
    context = {
        "blueprint": blueprint,
        "folders": model_folders(blueprint),
        "here": HERE,
        "hosts_by_role": hosts_by_role,
        "lib": lib_of(blueprint),
    }

    def rendered(template: str, **more: object) -> str:
        return environment().get_template(f"ansible/{template}.j2").render(context | more)

    plays = ("playbook.yaml", *(("restore.yaml",) if "backup" in hosts_by_role else ()))
    found = {name: rendered(name) for name in ("ansible.cfg", "inventory.yaml", *plays, "README.md")}
    found[".gitignore"] = "secrets/\n"
    for name in names:
        told = {role: role_vars(blueprint, role, name) for role, hosts in hosts_by_role.items() if name in hosts}
        found[f"host_vars/{name}.yaml"] = rendered("host_vars.yaml", host=name, told=told)
    found[f"files/units/paictl-{blueprint.agent}.target"] = target(blueprint)
    for unit in units(blueprint):
        found[f"files/units/{unit.name}"] = unit.text
        found[f"files/tmpfiles/{unit.stem}.conf"] = unit.tmpfiles
        found |= {f"files/config/{placed(path)}": text for path, text in unit.configs.items()}
    found |= {f"files/weights/{folder.name}.json": listing(folder.files) for folder in model_folders(blueprint)}
    for role in hosts_by_role:
        found |= _role(role)
    return found | {f"files/runtime/{path}": text for path, text in code().items()}


@cache
def _role(role: str) -> Mapping[str, str]:
    folder = asset("roles", role)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {f"roles/{role}/{file.relative_to(folder).as_posix()}": file.read_text(encoding="utf-8") for file in files}
