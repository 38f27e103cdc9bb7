#!/usr/bin/python
"""The module ``paictl_look``: tells a play what of one agent stands on the host. Run by the driver's ``observing``; changes nothing."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.looking import look


def main() -> None:
    """Answer one task."""
    module = AnsibleModule(
        argument_spec={"agent": {"type": "str", "required": True}, "target": {"type": "str", "required": True}},
        supports_check_mode=True,
    )
    try:
        found = look(module.params["agent"], module.params["target"])
    except (OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
