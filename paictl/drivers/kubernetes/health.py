"""Whether a workload is well, by its own status and its pods'; and whether waiting can help at all. Changes nothing.

What can't become well by itself is told at once, with the events' text and the last lines: an image that does not come, a pod
that no node takes, a container that ends again and again or for want of memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from paictl.drivers.kubernetes import pods
from paictl.drivers.kubernetes.connection import Connection, Json
from paictl.drivers.kubernetes.naming import TRIED
from paictl.engine.logend import with_log
from paictl.engine.model import Health

__all__ = ["HEALTHY", "is_late", "job_health", "pod_trouble", "volume_health", "workload_health"]

HEALTHY = Health("healthy")
_LOG_LINES = 15
# The second time in a row it is not chance any more.
_RESTARTS = 2
# So long a volume may take to be made, or a cluster to begin to grow.
_UNSCHEDULED_SECONDS = 20.0
_RETRY_SECONDS = 5.0
_LATE = "ProgressDeadlineExceeded"
_IMAGE = frozenset({"ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
_CREATION = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_LOAD = (
    "Its image has to be where the cluster gets it: push it to the registry that the cluster asks, or on a single k3s node "
    "`docker save IMAGE | k3s ctr images import -`."
)


def workload_health(connection: Connection, live: Json) -> Health:
    """Of a Deployment or a StatefulSet."""
    spec, status, metadata = live.get("spec") or {}, live.get("status") or {}, live["metadata"]
    wanted = int(spec.get("replicas", 1))
    if not wanted:
        return Health("unhealthy", "it was scaled to no replica at all")
    updated = int(status.get("updatedReplicas", 0))
    # A StatefulSet that has never been updated counts its pods as current ones.
    if live["kind"] == "StatefulSet" and status.get("currentRevision") == status.get("updateRevision"):
        updated = int(status.get("currentReplicas", 0))
    available = int(status.get("availableReplicas", 0))
    seen = int(status.get("observedGeneration", 0)) >= int(metadata.get("generation", 0))
    if seen and updated >= wanted and available >= wanted and int(status.get("replicas", 0)) == wanted:
        return HEALTHY
    return _not_yet(connection, live, f"{min(available, updated)} of {wanted} replicas are ready")


def _not_yet(connection: Connection, live: Json, sentence: str) -> Health:
    namespace = str(live["metadata"]["namespace"])
    found = pods.of_selector(connection, namespace, live["spec"]["selector"]["matchLabels"])
    newest = [one for one in found if _newest(one, found, live) and not one["metadata"].get("deletionTimestamp")]
    for pod in newest:
        trouble = pod_trouble(connection, pod)
        if trouble is not None:
            return trouble
    if is_late(live) and _settled(live):
        said = _conditions(live)["Progressing"].get("message", "")
        return Health("unhealthy", f"{sentence}: {said}", terminal=True)
    return _unmade(connection, live) or Health(
        "starting", f"{sentence}; {_waiting(newest[-1])}" if newest else sentence
    )


def is_late(live: Json) -> bool:
    """Whether a Deployment has made no progress for as long as it may."""
    progressing = _conditions(live).get("Progressing", {})
    return bool(progressing.get("status") == "False" and progressing.get("reason") == _LATE)


def _unmade(connection: Connection, live: Json) -> Health | None:
    """Why its pods are not made; None when no reason is known."""
    said = str(_conditions(live).get("ReplicaFailure", {}).get("message", ""))
    if not said:
        # StatefulSets and Jobs tell it by events alone.
        told = pods.events(connection, str(live["metadata"]["namespace"]), str(live["metadata"]["uid"]), _tried(live))
        said = next((one for one in reversed(told) if one.startswith("FailedCreate")), "")
    if not said:
        return None
    # What is forbidden stays so; what failed otherwise, such as somebody's webhook, may go well the next time.
    forbidden = "forbidden" in said and _settled(live)
    return Health("unhealthy" if forbidden else "starting", f"its pods can't be made: {said}", terminal=forbidden)


def _conditions(live: Json) -> dict[str, Any]:
    return {one["type"]: one for one in (live.get("status") or {}).get("conditions") or ()}


def _tried(live: Json) -> str:
    """When it was last asked to try again, or made."""
    metadata = live["metadata"]
    return str((metadata.get("annotations") or {}).get(TRIED) or metadata["creationTimestamp"])


def _settled(live: Json) -> bool:
    """Whether its controller had the time to try again: until then its status tells of the time before."""
    tried = (live["metadata"].get("annotations") or {}).get(TRIED)
    return not tried or _seconds_since(tried) > _RETRY_SECONDS


def _newest(pod: Json, found: list[Any], live: Json) -> bool:
    """Whether it was made from the workload as it is now: while it is being updated, the old ones still serve."""
    labels = pod["metadata"].get("labels") or {}
    if live["kind"] == "StatefulSet":
        return labels.get("controller-revision-hash") == (live.get("status") or {}).get("updateRevision")
    latest = (found[-1]["metadata"].get("labels") or {}).get("pod-template-hash")
    return bool(labels.get("pod-template-hash") == latest)


def _waiting(pod: Json) -> str:
    for one in _containers(pod):
        state = one.get("state") or {}
        if "waiting" in state:
            return f"{one['name']} waits ({state['waiting'].get('reason', 'unknown')})"
    return f"{pod['metadata']['name']} is {(pod.get('status') or {}).get('phase', 'Pending').lower()}"


def _containers(pod: Json) -> Iterator[Any]:
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def pod_trouble(connection: Connection, pod: Json) -> Health | None:
    """Why this pod will not run by itself; None when it may."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable" and _lasting(condition):
            return Health("unhealthy", f"no node takes it: {condition.get('message', '')}", terminal=True)
    for container in _containers(pod):
        waiting = (container.get("state") or {}).get("waiting") or {}
        ended = (container.get("lastState") or {}).get("terminated") or (container.get("state") or {}).get("terminated")
        reason = str(waiting.get("reason", ""))
        if reason in _IMAGE or (reason == "ErrImagePull" and "not found" in str(waiting.get("message"))):
            said = f"its image {container.get('image')} does not come ({reason}): {waiting.get('message', '')}"
            return Health("unhealthy", f"{said}\n  {_LOAD}", terminal=True)
        if reason in _CREATION:
            return Health(
                "unhealthy", f"its container can't be made ({reason}): {waiting.get('message', '')}", terminal=True
            )
        if ended and ended.get("reason") == "OOMKilled":
            return _with_log(
                connection, pod, container, f"it ended for want of memory (its limit is {_limit(pod, container)})"
            )
        often = int(container.get("restartCount", 0)) >= _RESTARTS
        if ended and ended.get("exitCode") and often and reason == "CrashLoopBackOff":
            how = f"it ended again and again, with exit status {ended['exitCode']}"
            return _with_log(connection, pod, container, how)
    return None


def _with_log(connection: Connection, pod: Json, container: Json, sentence: str) -> Health:
    name = str(container["name"])
    lines = pods.last_lines(connection, pod, name, _LOG_LINES)
    return Health("unhealthy", with_log(sentence, lines), terminal=True)


def _lasting(condition: Mapping[str, Any]) -> bool:
    return _seconds_since(str(condition["lastTransitionTime"])) > _UNSCHEDULED_SECONDS


def _seconds_since(when: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(when)).total_seconds()


def _limit(pod: Json, container: Json) -> str:
    every = (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"])
    mine: Json = next((one for one in every if one["name"] == container["name"]), {})
    return str((mine.get("resources") or {}).get("limits", {}).get("memory", "the node's"))


def job_health(connection: Connection, live: Json) -> Health:
    """Of a Job: well when it has succeeded."""
    conditions = _conditions(live)
    if conditions.get("Complete", {}).get("status") == "True":
        return HEALTHY
    namespace = str(live["metadata"]["namespace"])
    found = pods.of_selector(connection, namespace, {"job-name": live["metadata"]["name"]})
    if conditions.get("Failed", {}).get("status") == "True":
        lines = pods.last_lines(connection, found[-1], _first(found[-1]), _LOG_LINES) if found else []
        sentence = f"it failed: {conditions['Failed'].get('message', '')}"
        return Health("unhealthy", with_log(sentence, lines), terminal=True)
    for pod in found:
        trouble = pod_trouble(connection, pod)
        if trouble is not None:
            return trouble
    if not found:
        return _unmade(connection, live) or Health("starting", "its pod is being made")
    return Health("starting", _waiting(found[-1]))


def _first(pod: Json) -> str:
    return str(pod["spec"]["containers"][0]["name"])


def volume_health(live: Json) -> Health:
    """Of a claim: one without a volume may only wait for its first pod."""
    if (live.get("status") or {}).get("phase") == "Lost":
        return Health("unhealthy", "its volume is gone", terminal=True)
    return HEALTHY
