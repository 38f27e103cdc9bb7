"""Makes room for what an apply alone does not mend: pods that wait for their next try, Jobs that failed. Used by the driver."""

from __future__ import annotations

from paictl.drivers.kubernetes import pods
from paictl.drivers.kubernetes.applying import delete
from paictl.drivers.kubernetes.connection import Connection, Json
from paictl.drivers.kubernetes.health import pod_trouble
from paictl.drivers.kubernetes.kinds import KINDS, POD
from paictl.engine.model import Step

__all__ = ["mend"]


def mend(connection: Connection, step: Step, document: Json) -> None:
    """Before the apply of an update: take away what keeps it from becoming well."""
    observed = step.observed
    if observed is None or observed.health.state != "unhealthy":
        return
    metadata = document["metadata"]
    if document["kind"] == "Job":
        delete(connection, KINDS["Job"], metadata["namespace"], metadata["name"], uid=observed.handle)
    elif document["kind"] in {"Deployment", "StatefulSet"}:
        selector = document["spec"]["selector"]["matchLabels"]
        for pod in pods.of_selector(connection, metadata["namespace"], selector):
            # Its controller makes it anew at once, instead of after a pause that doubles each time.
            if pod_trouble(connection, pod) is not None:
                delete(connection, POD, metadata["namespace"], pod["metadata"]["name"], uid=pod["metadata"]["uid"])
