from __future__ import annotations

from pathlib import Path

import pytest

from paictl.blueprint.compile import compile_blueprint
from paictl.blueprint.types import Scale
from tests.blueprint.manifests import RESOLVED, manifest

_CHAT = '  models: {chat: {task: chat, source: "file:///m.gguf"}}\n'


@pytest.mark.parametrize(
    ("said", "scale"),
    [
        ("{}", Scale(1, 1, 0)),
        ("{replicas: 3}", Scale(3, 3, 0)),
        ("{replicas: 2, max: 2}", Scale(2, 2, 0)),
        ("{max: 4}", Scale(1, 4, 80)),
        ("{replicas: 2, max: 5, cpu: 70}", Scale(2, 5, 70)),
    ],
)
def test_what_the_manifest_says_of_a_service_is_its_scale(said: str, scale: Scale, tmp_path: Path) -> None:
    blueprint = compile_blueprint(manifest(tmp_path, f"{_CHAT}  scale: {{model-chat: {said}}}\n"), RESOLVED)
    assert blueprint.service("model-chat").scale == scale
    assert blueprint.service("gateway").scale == Scale()


_SHARED = _CHAT + "  state: {engine: postgres}\n  scale: {gateway: {replicas: 2}, agent: {max: 2}}\n"


def test_with_shared_state_gateway_and_agent_keep_nothing_in_files_so_several_of_them_run(tmp_path: Path) -> None:
    blueprint = compile_blueprint(manifest(tmp_path, _SHARED), RESOLVED)
    for name in ("gateway", "agent"):
        assert blueprint.service(name).scale.several
        assert not blueprint.service(name).holds_data
