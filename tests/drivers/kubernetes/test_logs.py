from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest

from paictl.engine.model import Resource
from tests.drivers.kubernetes.conftest import Reconciling
from tests.drivers.kubernetes.stack import Stack
from tests.engine.graphs import wanting
from tests.waiting import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]

# Counts up while it runs; crashes once, when it is asked to.
_COUNTS = """
trap "exit 0" TERM
touch /tmp/ready
echo "begun by $HOSTNAME"
count=0
while :; do
    count=$((count + 1)); echo "$HOSTNAME $count"
    if [ -e /tmp/crash ]; then rm /tmp/crash; echo "its last word"; exit 3; fi
    sleep 1 & wait $!
done
"""


def _service(stack: Stack, replicas: int = 1) -> Resource:
    service = stack.service("Deployment", "outer", command=["/bin/sh", "-c", _COUNTS])
    assert isinstance(service.spec, dict)
    service.spec["replicas"] = replicas
    return service


def _kubectl(stack: Stack, *arguments: str) -> str:
    return stack.access.kubectl(f"--namespace={stack.namespace}", *arguments)


def _pods(stack: Stack) -> list[str]:
    found = stack.access.get(f"--namespace={stack.namespace}", "pods")["items"]
    return [one["metadata"]["name"] for one in found if not one["metadata"].get("deletionTimestamp")]


def _tail(stack: Stack, lines: int) -> list[str]:
    return list(stack.driver().logs(stack.scope, "outer", tail=lines, follow=False))


def test_the_log_of_a_service_is_that_of_all_its_pods_whatever_becomes_of_them(
    stack: Stack, reconciler: Reconciling
) -> None:
    reconciler().apply(wanting([_service(stack)]))
    (first,) = _pods(stack)
    until(lambda: len(_tail(stack, 100)) > 3, "some lines")
    assert _tail(stack, 100)[:2] == [f"begun by {first}", f"{first} 1"]
    assert len(_tail(stack, 2)) == 2
    assert _tail(stack, 0) == []
    following = _Following(stack)
    _kubectl(stack, "exec", first, "--", "sh", "-c", ": >/tmp/crash")
    following.until("its last word", f"begun by {first}")
    # What it wrote before it crashed is told with what it wrote since.
    assert "its last word" in _tail(stack, 100)
    _kubectl(stack, "delete", "pod", first, "--wait=false")
    until(lambda: _pods(stack) not in ([first], []), "its successor")
    (second,) = _pods(stack)
    following.until(f"begun by {second}", f"{second} 3")
    assert following.lines.count(f"begun by {second}") == 1
    reconciler().apply(wanting([_service(stack, replicas=2)]))
    until(lambda: {line.split()[1] for line in _tail(stack, 8)} >= set(_pods(stack)), "lines of both")
    assert {line.split()[0] for line in _tail(stack, 8)} == {name.rpartition("-")[2] for name in _pods(stack)}
    _kubectl(stack, "delete", "deployment", "outer", "--wait=false")
    following.until_it_ends()


class _Following:
    """The log as it comes, from a line on that is to come."""

    def __init__(self, stack: Stack) -> None:
        self.lines: list[str] = []
        self._coming: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._source: Iterator[str] = stack.driver().logs(stack.scope, "outer", tail=0, follow=True)
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        for line in self._source:
            self._coming.put(line)

    def until(self, *wanted: str) -> None:
        """Read until these have come, in that order."""
        for one in wanted:
            while one not in self.lines[-1:]:
                self.lines.append(self._coming.get(timeout=30))

    def until_it_ends(self) -> None:
        """By itself, once the service has had no pod for a while."""
        self._reading.join(60)
        assert not self._reading.is_alive()
