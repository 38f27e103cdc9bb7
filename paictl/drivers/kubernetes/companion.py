"""A short-lived pod in the place of another's: where software of others brings no Python to try things with. Called by the driver.

It bears that pod's labels, so that the same policies hold for it, stands on its node, sees its volumes read-only, runs as its user,
and may do no more. No Service leads to it: it never says that it is ready.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from paictl.drivers.kubernetes.connection import Connection, Json
from paictl.drivers.kubernetes.temporary import standing

__all__ = ["beside", "like"]

_LIFE_SECONDS = 180
_NEVER = "paictl/ready"
# These would have a controller take it for one of its own.
_OF_CONTROLLERS = ("pod-template-hash", "controller-revision-hash", "pod-index", "pod-name")
# Policies reach a pod a moment after it has an address.
_SETTLING_SECONDS = 2.0


@contextmanager
def beside(connection: Connection, room: Json, container: str, image: str) -> Iterator[Json]:
    """A pod of the runtime's ``image`` with one container of that name, like the pod ``room``; gone after the block."""
    with standing(connection, like(room, container, image), "tries what its neighbour may do") as pod:
        time.sleep(_SETTLING_SECONDS)
        yield pod


def like(room: Json, container: str, image: str) -> dict[str, Any]:
    """The document of a pod of that image with the rights of ``container`` in the pod ``room``, which waits."""
    spec, metadata = json.loads(json.dumps(room["spec"])), room["metadata"]
    (like,) = (one for one in spec["containers"] if one["name"] == container)
    mounts = [{**one, "readOnly": True} for one in like.get("volumeMounts") or ()]
    kept = ("securityContext", "volumes", "nodeName", "serviceAccountName", "imagePullSecrets", "tolerations")
    marks = metadata.get("labels") or {}
    owner = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"try-{metadata['name']}",
            "namespace": metadata["namespace"],
            "labels": {key: value for key, value in marks.items() if not key.endswith(_OF_CONTROLLERS)},
            # Left by a kill, it goes with the other at the latest.
            "ownerReferences": [owner],
        },
        "spec": {
            **{key: spec[key] for key in kept if key in spec},
            "restartPolicy": "Never",
            "activeDeadlineSeconds": _LIFE_SECONDS,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "readinessGates": [{"conditionType": _NEVER}],
            "containers": [
                {
                    "name": container,
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "args": ["-I", "-c", f"import time; time.sleep({_LIFE_SECONDS})"],
                    "securityContext": like.get("securityContext") or {},
                    "volumeMounts": mounts,
                    "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
                }
            ],
        },
    }
