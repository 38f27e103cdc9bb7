from __future__ import annotations

from pathlib import Path

import pytest

from paictl.blueprint.compile import compile_blueprint
from paictl.blueprint.types import Scale
from paictl.errors import ExitCode, Unavailable
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


@pytest.mark.parametrize("said", ["{replicas: 2}", "{max: 2}"])
def test_what_keeps_data_in_files_runs_once_and_the_line_says_why(said: str, tmp_path: Path) -> None:
    asked = manifest(tmp_path, f"{_CHAT}  scale:\n    gateway: {said}\n    agent: {said}\n")
    with pytest.raises(Unavailable, match="keep data in files") as raised:
        compile_blueprint(asked, RESOLVED)
    assert raised.value.exit_code is ExitCode.REFUSED
    assert [one.span.line for one in raised.value.diagnostics if one.span] == [8, 9]
