"""Writes a configuration with the addresses of services filled in: python connect.py SOURCE TARGET. Standard library only.

Kubernetes only. The room has no DNS, so a name is of no use there; the kubelet tells every container the addresses of the
namespace's services as variables. "tcp:$(MODEL_CHAT_SERVICE_HOST):8080" becomes "tcp:10.43.7.9:8080".
"""

import json
import os
import re
import sys

REFERENCE = re.compile(r"tcp:\$\(([A-Z0-9_]+_SERVICE_HOST)\):([0-9]+)")


def connected(value):
    if isinstance(value, dict):
        return {key: connected(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [connected(inner) for inner in value]
    found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        return value
    host = os.environ.get(found[1])
    if not host:
        sys.exit(f"{found[1]} is not set: its Service does not exist yet; the pod is tried again.")
    return f"tcp:[{host}]:{found[2]}" if ":" in host else f"tcp:{host}:{found[2]}"


source, target = sys.argv[1:]
with open(source, encoding="utf-8") as file:
    content = connected(json.load(file))
with open(target, "w", encoding="utf-8") as file:
    json.dump(content, file, indent=2, sort_keys=True)
