"""The quickstart's manifest with `driver: docker`, as a person types it, on a real engine."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from tests.docker import stock
from tests.docker.compose import compose_command
from tests.docker.conftest import Reached
from tests.docker.home import DockerHome
from tests.story.life import End, Life

# The first apply builds an image.
pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("story-quickstart"),
]


@pytest.fixture(scope="module")
def home(engine: Reached, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerHome]:
    home = DockerHome(tmp_path_factory.mktemp("home"), agent=f"story-{uuid.uuid4().hex[:8]}", reached=engine)
    home.prepare()
    home.edit("{name: atlas,", f"{{name: {home.agent},")
    home.edit("{driver: native}", "{driver: docker}")
    home.edit("spec:\n", f"spec:\n  images: {{base: '{stock.base(engine.api)}'}}\n")
    yield home
    home.clear()


class TestTheQuickstartOnDocker(Life):
    def test_docker_compose_sees_it(self, home: DockerHome) -> None:
        command = compose_command(home.engine.host)
        listed = json.loads(subprocess.run([*command, "ls", "--format=json"], capture_output=True, check=True).stdout)
        assert "running(5)" in [one["Status"] for one in listed if one["Name"] == home.agent]
        of_it = [*command, "-p", home.agent]
        shown = subprocess.run([*of_it, "ps", "--services"], capture_output=True, text=True, check=True).stdout
        assert sorted(shown.split()) == ["agent", "gateway", "model-chat", "model-embed", "secrets"]
        logs = subprocess.run([*of_it, "logs", "gateway"], capture_output=True, text=True, check=True).stdout
        assert "gateway-1" in logs

    @pytest.mark.promise(24)
    def test_verify_names_what_an_agent_reaches_that_somebody_put_on_another_network(self, home: DockerHome) -> None:
        agent, network = home.running()["agent"], f"{home.agent}_to-model-chat"
        home.engine.api.connect_container_to_network(agent, network)
        try:
            checks = json.loads(home.run("verify", "-o", "json", code=1).stdout)["checks"]
            text = home.run("verify", code=1)
        finally:
            home.engine.api.disconnect_container_from_network(agent, network)
        broken = {(check["where"], check["tried"]): check["detail"] for check in checks if not check["passed"]}
        # The model server sees it as well, now that both are on its network.
        assert set(broken) == {("agent", "reach model-chat"), ("model-chat", "reach agent")}
        assert "8080: connected" in broken["agent", "reach model-chat"]
        assert "model-chat is " in broken["agent", "reach model-chat"]
        assert "FAIL" in text.stdout
        assert f"2 of {len(checks)} checks failed" in text.stderr


class TestItsEndOnDocker(End):
    pass
