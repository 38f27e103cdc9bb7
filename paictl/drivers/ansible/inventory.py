"""What Ansible is told of hosts and of itself: an inventory, and its configuration. Pure but for the passwords; called by ``playroom``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paictl.drivers.ansible.hosts import Hosts
from paictl.drivers.ansible.writing import Literals

__all__ = ["GROUP", "configuration", "inventory"]

GROUP = "agent"
"""The group of all hosts of a run, as in what `paictl render` writes."""

_OTHERS = "others"

_PYTHON = "/usr/bin/python3"


def inventory(hosts: Hosts, names: Sequence[str]) -> str:
    """These hosts, as YAML; with their passwords, so it belongs into memory only.

    The target's others are in a group that no play is for: a task of a host may be delegated to one of them.
    """
    import yaml

    # A dumper of its own: what is registered there is nobody else's.
    dumper: Any = type("_Dumper", (yaml.SafeDumper,), {})
    dumper.add_representer(Literals, _represented)
    others = [name for name in hosts.logins if name not in names]
    groups = {GROUP: names, **({_OTHERS: others} if others else {})}
    document = {group: {"hosts": {name: _variables(hosts, name) for name in of}} for group, of in groups.items()}
    text: str = yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True)
    return text


def _represented(dumper: Any, literals: Literals) -> Any:
    # At the mapping: tagged itself, a password of digits would become a number.
    return dumper.represent_mapping("!unsafe", dict(literals))


def _variables(hosts: Hosts, name: str) -> Literals:
    login = hosts.logins[name]
    # Named, so that no host is first asked which Pythons it has.
    found = Literals(ansible_python_interpreter=_PYTHON)
    if login.local:
        found["ansible_connection"] = "local"
    else:
        found |= {
            "ansible_host": login.address,
            "ansible_port": login.port,
            "ansible_ssh_common_args": shlex.join(hosts.ssh_options(name)),
        }
        if login.user:
            found["ansible_user"] = login.user
        password = hosts.passwords(name, "login")
        # Without a password ssh is told to try keys alone: that a play runs proves that one opens the host.
        found["hardening_key_login_proven"] = password is None
        if password is not None:
            found["ansible_password"] = password
    password = hosts.passwords(name, "become")
    if password is not None:
        found["ansible_become_password"] = password
    return found


def configuration(forks: int, scratch: Path, paths: Mapping[str, Sequence[Path]]) -> str:
    """``ansible.cfg``: everything of its own below ``scratch``, nothing gathered unasked, one connection a host."""
    lines = [
        "[defaults]",
        f"home = {scratch}",
        f"local_tmp = {scratch}",
        f"forks = {forks}",
        "gathering = explicit",
        "fact_caching = memory",
        "retry_files_enabled = False",
        "host_key_checking = True",
        "display_skipped_hosts = False",
        "deprecation_warnings = False",
        "system_warnings = False",
        "localhost_warning = False",
        "inventory_unparsed_warning = False",
        "action_warnings = False",
        # A mistyped variable, a missing handler: an error, never a surprise.
        "error_on_missing_handler = True",
        "force_handlers = True",
        "internal_poll_interval = 0.001",
        *(f"{key} = {':'.join(map(str, found))}" for key, found in paths.items() if found),
        "",
        "[privilege_escalation]",
        "become_method = sudo",
        "",
        # Over ssh as on this machine itself: what a task sends is sent, and never a terminal's to swallow.
        "[connection]",
        "pipelining = True",
        "",
        "[ssh_connection]",
        # All of it is in each host's own arguments, which plain ssh has as well.
        "ssh_args =",
        "retries = 0",
        "usetty = False",
        "",
        "[inventory]",
        "enable_plugins = yaml",
    ]
    return "\n".join(lines) + "\n"
