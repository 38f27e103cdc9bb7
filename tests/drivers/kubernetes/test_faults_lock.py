"""Two at once, holders that died, holders that slept: one writes at a time, and the other is told who it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from paictl.drivers.kubernetes import locking
from paictl.drivers.kubernetes.connection import Connection
from paictl.drivers.kubernetes.driver import KubernetesDriver
from paictl.engine.driver import Holder, Scope
from paictl.engine.reconciler import Reconciler
from paictl.errors import LockHeld, PaictlError, Refused
from paictl.events import Event, ignore
from tests.drivers.kubernetes.conftest import Reconciling
from tests.drivers.kubernetes.stack import Stack
from tests.engine.graphs import wanting
from tests.kubernetes.proxy import proxied

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow, pytest.mark.promise(16)]

_ME = Holder("alice", "desk", 1, "2026-01-02T03:04:05+00:00", "apply")
_HOLD = """
import sys
from paictl.drivers.kubernetes.connection import Connection
from paictl.drivers.kubernetes.driver import KubernetesDriver
from paictl.engine.driver import Holder, Scope
import os
holder = Holder("bob", "attic", os.getpid(), "2026-01-02T03:04:05+00:00", "apply")
with KubernetesDriver(Connection(), sys.argv[2]).hold_lock(Scope(sys.argv[1], "here"), holder):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def _held_by_a_process(stack: Stack) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _HOLD, stack.agent, stack.namespace]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def _desk(stack: Stack, state: Path, **more: Any) -> Reconciler:
    """Another machine: nothing is shared but the cluster."""
    given = {"secrets": stack.secrets, "who": "bob", "emit": ignore, **more}
    return Reconciler(scope=stack.scope, driver=stack.driver(), state_dir=state, **given)


def _holder(stack: Stack) -> Any:
    here = f"--namespace={stack.namespace}"
    return stack.access.get(f"lease/{stack.agent}-paictl-lock", here)


def test_of_two_applies_in_one_process_the_second_is_told_who_holds_it(
    stack: Stack, reconciler: Reconciling, tmp_path: Path
) -> None:
    wanted = wanting([stack.made("ConfigMap", "extra", {"data": {"it": "1"}})])
    begun, told = threading.Event(), threading.Event()

    def slowly(point: str, _about: str) -> None:
        if point == "after-begin":
            begun.set()
            assert told.wait(30)

    with ThreadPoolExecutor(1) as other:
        first = other.submit(_desk(stack, tmp_path / "other", on_point=slowly).apply, wanted)
        assert begun.wait(30)
        with pytest.raises(LockHeld, match=rf"held by bob on \S+, process {os.getpid()}, since "):
            reconciler().apply(wanted)
        told.set()
        assert first.result(30).outcome.complete
    assert reconciler().apply(wanted).plan.empty


def test_a_process_that_lives_is_named_and_one_that_was_killed_is_taken_over_with_a_warning(
    stack: Stack, tmp_path: Path
) -> None:
    wanted = wanting([stack.made("ConfigMap", "extra", {"data": {"it": "1"}})])
    said: list[Event] = []
    with _held_by_a_process(stack) as process:
        with pytest.raises(LockHeld, match=f"bob on attic, process {process.pid}"):
            _desk(stack, tmp_path / "state").apply(wanted)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _desk(stack, tmp_path / "state", emit=said.append).apply(wanted)
    (warning,) = [str(one.data["text"]) for one in said if one.type == "warning"]
    assert f"bob on attic, process {process.pid}" in warning


def _of_another_machine(stack: Stack, seconds: int) -> None:
    marks = {"paictl/agent": stack.agent, "paictl/target": "here"}
    notes = {"paictl/holder": json.dumps(asdict(_ME)), "paictl/process": "7@x/y#1"}
    where = {"name": f"{stack.agent}-paictl-lock", "namespace": stack.namespace, "labels": marks, "annotations": notes}
    spec = {"holderIdentity": "somebody", "leaseDurationSeconds": seconds}
    stack.access.apply({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": where, "spec": spec})


def test_a_holder_of_another_machine_is_dead_when_it_renews_no_more_and_only_then(stack: Stack) -> None:
    _of_another_machine(stack, 1)
    with stack.driver().hold_lock(stack.scope, _ME) as dead:
        assert dead.startswith("alice on desk, process 1")
    _of_another_machine(stack, 30)
    renewed = threading.Timer(0.5, _of_another_machine, [stack, 29])
    renewed.start()
    with pytest.raises(LockHeld, match="alice on desk"), stack.driver().hold_lock(stack.scope, _ME):
        pass
    renewed.join()


def test_of_many_who_take_over_at_once_one_has_it(stack: Stack) -> None:
    _of_another_machine(stack, 1)
    inside, most = threading.Semaphore(1), threading.Barrier(6)

    def attempt(driver: KubernetesDriver) -> bool:
        most.wait(30)
        with suppress(LockHeld), driver.hold_lock(stack.scope, _ME):
            assert inside.acquire(blocking=False), "two hold it"
            threading.Event().wait(1)
            inside.release()
            return True
        return False

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(attempt, [stack.driver() for _ in range(6)])) == 1


def test_who_slept_while_another_one_took_over_changes_nothing_more(stack: Stack) -> None:
    driver = stack.driver()
    with locking.hold(driver.connection, stack.scope, stack.namespace, _ME, beat=0.2):
        _taken(stack)
        with pytest.raises(PaictlError, match="the lock was lost"):
            _calls_until(lambda: driver.save_inventory(stack.scope, {"resources": {"a": "b"}}))
    assert _holder(stack)["spec"]["holderIdentity"] == "somebody"


def _taken(stack: Stack) -> None:
    patch = json.dumps({"spec": {"holderIdentity": "somebody"}})
    here = f"--namespace={stack.namespace}"
    stack.access.kubectl(here, "patch", f"lease/{stack.agent}-paictl-lock", "--type=merge", f"--patch={patch}")


def _calls_until(call: Callable[[], object]) -> None:
    """Until it raises: the first calls may be made before the next beat."""
    for _ in range(100):
        call()
        threading.Event().wait(0.05)


def test_who_may_not_take_over_a_lock_is_told_the_line_of_the_role(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _of_another_machine(stack, 1)
    rules = [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "delete"]}]
    access = stack.access.limited("less", stack.namespace, rules, tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(access.kubeconfig))
    with pytest.raises(PaictlError) as told, stack.driver().hold_lock(stack.scope, _ME):
        pass
    assert 'resources: ["leases"], verbs: ["update"]' in told.value.help


def test_a_lease_of_somebody_else_with_the_name_of_the_lock_stays(stack: Stack) -> None:
    where = {"name": f"{stack.agent}-paictl-lock", "namespace": stack.namespace}
    stack.access.apply({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": where, "spec": {}})
    with pytest.raises(Refused, match="which is not paictl's lock"), stack.driver().hold_lock(stack.scope, _ME):
        pass


def test_who_waits_for_the_last_one_has_a_namespace_of_its_own_afterwards(stack: Stack, tmp_path: Path) -> None:
    """The first one destroys everything, and the namespace goes with the lock; the second one waits, and makes it again."""
    scope = Scope(f"{stack.agent}-own", "here")

    def desk(name: str) -> Reconciler:
        driver = KubernetesDriver(Connection())
        stack.opened.append(driver)
        given: dict[str, Any] = {"secrets": stack.secrets, "who": name, "emit": ignore, "lock_timeout": 60.0}
        return Reconciler(scope=scope, driver=driver, state_dir=tmp_path / name, **given)

    made = Stack(stack.access, scope.agent, scope.agent)
    wanted = wanting([made.made("ConfigMap", "extra", {"data": {"it": "1"}})])
    desk("first").apply(wanted)
    for _ in range(2):
        with ThreadPoolExecutor(2) as pool:
            destroyed = pool.submit(desk("first").destroy)
            applied = pool.submit(desk("second").apply, wanted)
            assert destroyed.result(120).outcome.complete
            assert applied.result(120).outcome.complete
        desk("second").apply(wanted)
        assert stack.access.get("configmap/extra", f"--namespace={scope.agent}")["data"] == {"it": "1"}
    desk("first").destroy()
    assert not stack.access.kubectl("get", "namespace", scope.agent, "--ignore-not-found")


def test_a_namespace_goes_while_the_lock_is_held(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Scope(f"{stack.agent}-own", "here")
    first, other = KubernetesDriver(Connection()), KubernetesDriver(Connection())
    stack.opened += [first, other]
    other.observe(own)
    told: list[str] = []

    def meanwhile(_number: int, verb: str, kind: str) -> None:
        if (verb, kind) == ("DELETE", "namespaces"):
            with pytest.raises(LockHeld) as held, other.hold_lock(own, _ME):
                pass
            told.append(held.value.summary)

    with proxied(stack.access, tmp_path) as proxy:
        proxy.fault = meanwhile
        monkeypatch.setenv("KUBECONFIG", str(proxy.access.kubeconfig))
        with first.hold_lock(own, _ME):
            pass
    assert told == ["the lock is held by alice on desk, process 1, since 2026-01-02T03:04:05+00:00 (apply)"]
