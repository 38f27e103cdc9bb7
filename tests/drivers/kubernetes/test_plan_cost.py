from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from paictl.drivers.kubernetes.kinds import KINDS
from tests.drivers.kubernetes.conftest import Reconciling
from tests.drivers.kubernetes.stack import Stack
from tests.engine.graphs import wanting
from tests.kubernetes.proxy import Proxy, proxied

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]

_LISTS = Counter([*(("GET", kind.plural) for kind in KINDS.values()), ("GET", "rolebindings")])


@pytest.fixture
def proxy(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """All that the stack's drivers ask goes through it."""
    with proxied(stack.access, tmp_path) as made:
        monkeypatch.setenv("KUBECONFIG", str(made.access.kubeconfig))
        yield made


def test_a_plan_lists_each_kind_once_and_asks_for_a_dry_run_of_what_reads_otherwise_than_it_was_applied(
    stack: Stack, reconciler: Reconciling, proxy: Proxy
) -> None:
    settled = [stack.made("ConfigMap", f"extra-{number}", {"data": {"it": str(number)}}) for number in range(5)]
    fixed = stack.made("ConfigMap", "fixed", {"data": {"it": "1"}, "immutable": True})
    wanted = wanting([*settled, fixed, *stack.resources()])
    reconciler().apply(wanted)

    def asked() -> Counter[tuple[str, str]]:
        proxy.asked.clear()
        reconciler().plan(wanted)
        assert not _LISTS - proxy.counted
        return proxy.counted - _LISTS

    # Pods' templates are full of defaults, so that only the server can say what an apply of them comes to.
    nothing = Counter({("PATCH", "deployments"): 1, ("PATCH", "statefulsets"): 1})
    assert asked() == nothing
    here = f"--namespace={stack.namespace}"
    stack.access.kubectl(here, "patch", "configmap/extra-3", "--patch", '{"data":{"it":"by hand"}}')
    assert asked() == nothing + Counter({("PATCH", "configmaps"): 1})
    # More pods are not more to ask.
    stack.access.kubectl(here, "create", "deployment", "others", "--image=none", "--replicas=5")
    assert asked() == nothing + Counter({("PATCH", "configmaps"): 1})
    assert {str(step.address) for step in reconciler().plan(wanted).steps} == {"configmap/extra-3"}


def test_what_somebody_adds_to_a_selector_is_told_and_taken_back(stack: Stack, reconciler: Reconciling) -> None:
    selector = {"podSelector": {"matchLabels": {"app": "one"}}, "policyTypes": ["Ingress"]}
    wanted = wanting([stack.made("NetworkPolicy", "shut", {"spec": selector})])
    reconciler().apply(wanted)
    here = f"--namespace={stack.namespace}"
    added = '{"spec":{"podSelector":{"matchLabels":{"and":"none"}}}}'
    stack.access.kubectl(here, "patch", "networkpolicy/shut", "--type=merge", "--patch", added)
    (step,) = reconciler().plan(wanted).steps
    assert str(step.address) == "networkpolicy/shut"
    reconciler().apply(wanted)
    live = stack.access.get(here, "networkpolicy/shut")["spec"]["podSelector"]
    assert live == {"matchLabels": {"app": "one"}}
    assert reconciler().plan(wanted).empty
