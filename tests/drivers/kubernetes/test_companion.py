from __future__ import annotations

from typing import Any

import pytest

from paictl.drivers.kubernetes import pods
from paictl.drivers.kubernetes.companion import like
from paictl.drivers.kubernetes.execution import run
from paictl.drivers.kubernetes.temporary import standing
from tests.drivers.kubernetes.conftest import Reconciling
from tests.drivers.kubernetes.stack import Stack
from tests.engine.graphs import wanting
from tests.kubernetes.images import TINY
from tests.waiting import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]


def test_a_companion_has_its_neighbours_place_and_takes_none_of_its_work(stack: Stack, reconciler: Reconciling) -> None:
    resources = [stack.resources()[1], stack.service("StatefulSet", "inner", "volume/door"), _leading_to(stack)]
    reconciler().apply(wanting(resources))
    connection, here = stack.driver().connection, f"--namespace={stack.namespace}"
    (room,) = pods.of_selector(connection, stack.namespace, {"app.kubernetes.io/component": "inner"})
    stack.access.kubectl(here, "exec", "inner-0", "--", "sh", "-c", "echo known >/data/door/file")
    document = like(room, "inner", TINY)
    # The tests' small image has no Python to wait in.
    document["spec"]["containers"][0] |= {"command": ["/bin/sh", "-c", "sleep 100"], "args": []}
    with standing(connection, document, "tries") as pod:
        labels = {key: value for key, value in pod["metadata"]["labels"].items() if key in _marks(room)}
        assert labels == _marks(room)
        assert not any(one.get("controller") for one in pod["metadata"]["ownerReferences"])
        assert pod["spec"]["nodeName"] == room["spec"]["nodeName"]
        assert run(connection, pod, "inner", ["cat", "/data/door/file"]).stdout == b"known\n"
        assert run(connection, pod, "inner", ["sh", "-c", "echo x >/data/door/file"]).code != 0
        # The Service leads to its neighbour alone, and so do the port-forwards and commands of everybody else.
        assert _addresses(stack) == {room["status"]["podIP"]}
        found = pods.of_selector(connection, stack.namespace, {"app.kubernetes.io/component": "inner"})
        assert (pods.serving(found) or {})["metadata"]["name"] == "inner-0"
        assert reconciler().plan(wanting(resources)).empty
    until(lambda: "try-inner-0" not in stack.access.kubectl(here, "get", "pods", "--output=name"), "its end")


def _leading_to(stack: Stack) -> Any:
    ports = [{"port": 80, "targetPort": 8080}]
    spec = {"selector": {"app.kubernetes.io/component": "inner"}, "ports": ports}
    return stack.made("Service", "inner", {"spec": spec})


def _marks(pod: Any) -> dict[str, str]:
    return {key: value for key, value in pod["metadata"]["labels"].items() if key.startswith("app.kubernetes.io/")}


def _addresses(stack: Stack) -> set[str]:
    """Those that requests go to."""
    slices = stack.access.get(f"--namespace={stack.namespace}", "endpointslices")["items"]
    ends = [end for one in slices for end in one.get("endpoints") or () if end["conditions"].get("ready")]
    return {address for end in ends for address in end["addresses"]}
