from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from paictl.drivers.kubernetes.applying import apply, marked
from paictl.drivers.kubernetes.connection import Connection
from paictl.drivers.kubernetes.scaling import hand_over
from paictl.engine.model import Resource
from tests.drivers.kubernetes.conftest import Reconciling
from tests.drivers.kubernetes.stack import Stack
from tests.engine.graphs import wanting
from tests.waiting import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]

# The controller looks every 15 seconds.
_LOOKED_SECONDS = 60


def _outer(stack: Stack, replicas: int | None) -> Resource:
    """The Deployment, with its number or without one."""
    made = stack.service("Deployment", "outer")
    spec: dict[str, Any] = {key: value for key, value in made.spec.items() if key != "replicas"}
    if replicas is not None:
        spec["replicas"] = replicas
    return Resource(made.address, spec, made.depends_on, made.probe, made.replace_on)


def _scaler(stack: Stack, least: int) -> Resource:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "outer"}
    use = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
    spec = {"scaleTargetRef": target, "minReplicas": least, "maxReplicas": 4, "metrics": [use]}
    return stack.made("HorizontalPodAutoscaler", "outer", {"spec": spec})


@pytest.mark.promise(2)
def test_an_autoscaler_takes_a_number_over_as_it_is_keeps_it_and_gives_it_back(
    stack: Stack, reconciler: Reconciling
) -> None:
    def live() -> Any:
        return stack.access.get(f"--namespace={stack.namespace}", "deployment/outer")

    reconciler().apply(wanting([_outer(stack, 2)]))
    growing = [_outer(stack, None), _scaler(stack, 3)]
    reconciler().apply(wanting(growing))
    until(lambda: live()["status"].get("readyReplicas") == 3, "the autoscaler's look", _LOOKED_SECONDS)
    # In between, nobody has left the number to its default of one.
    events = stack.access.get(f"--namespace={stack.namespace}", "events")["items"]
    scaled = [one["message"] for one in events if one["reason"] == "ScalingReplicaSet"]
    assert len(scaled) >= 2
    assert [message for message in scaled if message.startswith("Scaled down")] == []
    assert reconciler().plan(wanting(growing)).empty
    fixed = [_outer(stack, 1)]
    reconciler().apply(wanting(fixed))
    assert live()["spec"]["replicas"] == 1
    assert reconciler().plan(wanting(fixed)).empty
    assert stack.leftovers().count("HorizontalPodAutoscaler/outer") == 0


class _Hurried(Connection):
    """Between its look and its next word, somebody says another number."""

    def __init__(self, hurry: Callable[[], object]) -> None:
        super().__init__()
        self._hurry = hurry

    def find(self, path: str, what: str, /, **query: object) -> Any | None:
        found = super().find(path, what, **query)
        self._hurry()
        return found


def test_a_number_that_an_autoscaler_says_while_it_is_taken_over_stays(stack: Stack, reconciler: Reconciling) -> None:
    reconciler().apply(wanting([_outer(stack, 2)]))
    where = (f"--namespace={stack.namespace}", "deployment/outer")
    # By the same subresource as an autoscaler.
    hurried = _Hurried(lambda: stack.access.kubectl("scale", *where, "--replicas=3"))
    kept = _outer(stack, None)
    document = marked(kept, stack.scope, stack.namespace, "")
    try:
        hand_over(hurried, stack.scope, document, {"replicas": 2})
        apply(hurried, document, "handing it over")
    finally:
        hurried.close()
    assert stack.access.get(*where)["spec"]["replicas"] == 3
