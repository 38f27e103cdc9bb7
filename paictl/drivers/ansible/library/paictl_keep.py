#!/usr/bin/python
"""The module ``paictl_keep``: what has to be kept around a role's tasks. Run by the driver's ``acting``, before and after them.

``begin`` before the first change, ``finish`` after the last, ``adopt`` for what stands already, ``leave`` and ``remove`` around
what has to end before everything is put back;
``explain`` adds to a failure what the unit itself said.
"""

from __future__ import annotations

import base64
import json
import subprocess

from ansible.module_utils import keeping
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.health import last_lines
from ansible.module_utils.restoring import Trouble


def main() -> None:
    """Answer one task."""
    module = AnsibleModule(
        argument_spec={
            "phase": {
                "type": "str",
                "required": True,
                "choices": ["begin", "finish", "adopt", "leave", "remove", "explain"],
            },
            "record": {"type": "str", "default": ""},
            "manages": {"type": "dict", "default": {}},
            "unit": {"type": "str", "default": ""},
            "said": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    asked = module.params
    if asked["phase"] == "explain":
        module.exit_json(changed=False, said=asked["said"], log=last_lines(asked["unit"]) if asked["unit"] else [])
    if module.check_mode:
        module.exit_json(changed=False)
    record = json.loads(base64.b64decode(asked["record"]))
    try:
        if asked["phase"] in ("leave", "remove"):
            getattr(keeping, asked["phase"])(record)
        else:
            getattr(keeping, asked["phase"])(record, asked["manages"])
    except KeyError as error:
        module.fail_json(msg=f"its role says that it manages {error}, which is no such word")
    except (OSError, ValueError, Trouble, subprocess.SubprocessError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
