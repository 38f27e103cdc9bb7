"""The quickstart's manifest with `driver: kubernetes`, as a person types it, on a cluster whose pods run."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest

from tests.kubernetes.asking import asking
from tests.kubernetes.costs import compared
from tests.kubernetes.home import KubernetesHome
from tests.kubernetes.lease import Lease
from tests.kubernetes.runtime_image import Workshop
from tests.story.life import End, Life

# The first apply waits for an image to be built.
pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("story-quickstart"),
]


@pytest.fixture(scope="module")
def home(node_cluster: Lease, workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesHome]:
    home = KubernetesHome(tmp_path_factory.mktemp("home"), agent=f"story-{uuid.uuid4().hex[:8]}", held=node_cluster)
    home.prepare()
    home.edit("{name: atlas,", f"{{name: {home.agent},")
    home.edit("{driver: native}", "{driver: kubernetes}")
    home.edit("spec:\n", f"spec:\n  images: {{base: '{workshop.base()}'}}\n")
    home.image = workshop.bring(home.manifest, home.surroundings())
    home.run("models", "pull")
    yield home
    home.clear()


class TestTheQuickstartOnKubernetes(Life):
    # The one it had goes, too.
    following: ClassVar[list[str]] = ["configmap/agent-HASH", "configmap/agent-HASH", "service/agent"]

    @pytest.mark.promise(11)
    def test_nobody_who_asks_notices_that_a_model_server_is_replaced(self, home: KubernetesHome) -> None:
        before = home.running()
        home.edit("      task: chat\n", "      task: chat\n      threads: 3\n")
        assert home.steps() == ["configmap/model-chat-HASH", "configmap/model-chat-HASH", "service/model-chat"]
        with asking(home) as asked:
            home.run("apply", "--yes")
        assert asked.failed == []
        after = home.running()
        assert {name for name in after if after[name] != before[name]} == {"model-chat"}
        assert home.steps() == []

    def test_a_plan_that_finds_nothing_takes_no_longer_than_one_and_a_half_of_kubectls_diff(
        self, home: KubernetesHome
    ) -> None:
        costs = compared(home, runs=3)
        assert costs.plan.wall <= 1.5 * costs.diff.wall

    @pytest.mark.promise(24)
    def test_verify_names_what_an_agent_reaches_that_somebody_opened(self, home: KubernetesHome) -> None:
        home.access.apply(_opening("agent", "model-chat", home.agent, "Egress"))
        home.access.apply(_opening("model-chat", "agent", home.agent, "Ingress"))
        try:
            checks = home.json("verify", code=1)["checks"]
        finally:
            home.kubectl("delete", "networkpolicy", "opened-egress", "opened-ingress")
        broken = {(check["where"], check["tried"]): check["detail"] for check in checks if not check["passed"]}
        assert set(broken) == {("agent", "reach model-chat")}
        assert "8080: connected" in broken["agent", "reach model-chat"]


class TestItsEndOnKubernetes(End):
    pass


def _opening(where: str, other: str, namespace: str, direction: str) -> Mapping[str, Any]:
    """A policy of somebody's own that lets everything through between two components."""
    peer = [{"podSelector": {"matchLabels": {"app.kubernetes.io/component": other}}}]
    rule = {"egress": [{"to": peer}]} if direction == "Egress" else {"ingress": [{"from": peer}]}
    selector = {"matchLabels": {"app.kubernetes.io/component": where}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"opened-{direction.lower()}", "namespace": namespace},
        "spec": {"podSelector": selector, "policyTypes": [direction], **rule},
    }
