"""The private cloud's example: asked all the time while one of its gateways is taken away, and while all are replaced."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.docker import stock
from tests.kubernetes.asking import asking
from tests.kubernetes.home import KubernetesHome
from tests.kubernetes.lease import Lease
from tests.kubernetes.runtime_image import Workshop
from tests.story.life import knows_the_sister
from tests.waiting import until

# The first apply waits for images to be built.
pytestmark = [pytest.mark.kubernetes, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def home(node_cluster: Lease, workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesHome]:
    home = KubernetesHome(tmp_path_factory.mktemp("home"), agent=f"fleet-{uuid.uuid4().hex[:8]}", held=node_cluster)
    home.copy("private-cloud")
    home.edit("{name: fleet,", f"{{name: {home.agent},")
    home.edit("{calls: 1000/day}", "{calls: 100000/day}")
    database = stock.pgvector(workshop.api)
    home.environment |= {"PAICTL_IMAGE_BASE": workshop.base(), "PAICTL_IMAGE_PGVECTOR": database}
    workshop.load(database)
    home.image = workshop.bring(home.manifest, home.surroundings())
    home.run("models", "pull")
    yield home
    home.clear()


class TestThePrivateCloudOnKubernetes:
    def test_one_command_makes_two_gateways_and_two_model_servers_stand(self, home: KubernetesHome) -> None:
        home.run("apply", "--yes")
        assert home.json("status")["ready"]
        assert {name: len(ids.split()) for name, ids in home.running().items()} == {
            "agent": 1,
            "gateway": 2,
            "model-chat": 2,
            "model-embed": 1,
            "state": 1,
        }

    @pytest.mark.promise(21)
    def test_what_one_gateway_was_told_is_remembered_whoever_answers(self, home: KubernetesHome) -> None:
        home.chat("My sister's name is Ines.")
        assert knows_the_sister(home)

    @pytest.mark.promise(24)
    def test_verify_finds_every_room_closed(self, home: KubernetesHome) -> None:
        checks = home.json("verify")
        assert checks["passed"], [check for check in checks["checks"] if not check["passed"]]

    def test_two_gateways_serve_and_nobody_who_asks_notices_when_one_is_taken_away(self, home: KubernetesHome) -> None:
        gone, other = (pod["metadata"] for pod in home.pods("gateway"))
        with asking(home) as asked:
            home.kubectl("delete", "pod", gone["name"])
            until(lambda: _ready(home) - {other["uid"]} != set(), "another gateway", 120)
        assert asked.failed == []

    @pytest.mark.promise(11)
    def test_nobody_who_asks_notices_that_every_gateway_is_replaced(self, home: KubernetesHome) -> None:
        before = home.running()
        home.edit("{calls: 100000/day}", "{calls: 90000/day}")
        assert "service/gateway" in home.steps()
        with asking(home) as asked:
            home.run("apply", "--yes")
        assert asked.failed == []
        assert not {*before["gateway"].split()} & {*home.running()["gateway"].split()}
        assert home.steps() == []

    @pytest.mark.promise(12)
    def test_destroy_with_its_data_leaves_nothing(self, home: KubernetesHome) -> None:
        home.run("destroy", "--yes")
        home.run("destroy", "--yes", *(word for address in home.kept() for word in ("--delete-data", address)))
        assert home.left() == []


def _ready(home: KubernetesHome) -> set[str]:
    """The gateways that are ready, by their ids."""
    return {
        pod["metadata"]["uid"]
        for pod in home.pods("gateway")
        if any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))
    }
