from __future__ import annotations

from paictl.manifest.starter import starter
from tests.manifest.conftest import Folder


def test_the_starter_is_valid_as_it_stands_and_needs_nothing_but_this_machine(folder: Folder) -> None:
    folder.write("agent.yaml", starter("atlas", "alice"))
    manifest = folder.load()
    assert manifest.warnings == ()
    assert (manifest.agent.metadata.name, manifest.agent.metadata.owner) == ("atlas", "alice")
    assert manifest.target_spec.driver == "native"
    assert manifest.agent.spec.secrets == {}
    for model in manifest.agent.spec.models.values():
        assert model.source is not None
        assert model.sha256


def test_what_the_starter_has_in_comments_is_valid_too(folder: Folder) -> None:
    lines = starter("atlas", "alice").splitlines()
    start = next(index for index, line in enumerate(lines) if line.strip() == "# workflows:")
    opened = [
        line.replace("  # ", "  ", 1)
        if index >= start and line.startswith(("  # workflows", "  #   ", "  # secrets"))
        else line
        for index, line in enumerate(lines)
    ]
    folder.write("agent.yaml", "\n".join(opened) + "\n")
    manifest = folder.load()
    assert set(manifest.agent.spec.workflows) == {"reflect"}
    assert set(manifest.agent.spec.secrets) == {"anthropic"}
