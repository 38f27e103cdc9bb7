"""The ansible driver's plain files: inventory, playbook, variables, roles and hardened systemd units. Pure; called by `paictl render`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from paictl.assets import asset
from paictl.blueprint.types import Blueprint
from paictl.render.containers import listing, model_folders
from paictl.render.environment import environment
from paictl.render.units import HERE, ROLES, code, hosts_of, placed, role_vars, target, units

__all__ = ["files"]


def files(blueprint: Blueprint) -> Mapping[str, str]:
    """Path -> text of everything that `ansible-playbook playbook.yaml` needs but the declared secrets' values."""
    names = tuple(one.name for one in blueprint.hosts) or (HERE,)
    hosts_by_role = {role: hosts_of(blueprint, role) for role in ROLES}
    context = {
        "blueprint": blueprint,
        "folders": model_folders(blueprint),
        "here": HERE,
        "hosts_by_role": {role: hosts for role, hosts in hosts_by_role.items() if hosts},
        "lib": f"/var/lib/paictl/{blueprint.agent}",
    }

    def rendered(template: str, **more: object) -> str:
        return environment().get_template(f"ansible/{template}.j2").render(context | more)

    found = {name: rendered(name) for name in ("ansible.cfg", "inventory.yaml", "playbook.yaml", "README.md")}
    found[".gitignore"] = "secrets/\n"
    for name in names:
        told = {role: role_vars(blueprint, role, name) for role in ROLES if name in hosts_by_role[role]}
        found[f"host_vars/{name}.yaml"] = rendered("host_vars.yaml", host=name, told=told)
    found[f"files/units/paictl-{blueprint.agent}.target"] = target(blueprint)
    for unit in units(blueprint):
        found[f"files/units/{unit.name}"] = unit.text
        found[f"files/tmpfiles/{unit.stem}.conf"] = unit.tmpfiles
        found |= {f"files/config/{placed(path)}": text for path, text in unit.configs.items()}
    found |= {f"files/weights/{folder.name}.json": listing(folder.files) for folder in model_folders(blueprint)}
    return found | {f"files/runtime/{path}": text for path, text in code().items()} | _roles()


@cache
def _roles() -> dict[str, str]:
    found: dict[str, str] = {}
    for role in ROLES:
        folder = asset("roles", role)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            found[f"roles/{role}/{file.relative_to(folder).as_posix()}"] = file.read_text(encoding="utf-8")
    return found
