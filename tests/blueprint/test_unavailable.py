from __future__ import annotations

from pathlib import Path

import pytest

from paictl.blueprint.unavailable import refuse_unavailable, unavailable
from paictl.errors import ExitCode, Unavailable
from paictl.manifest.load import load
from tests.blueprint.manifests import QUICKSTART, manifest

# One line of a manifest each, and the words that name what is not there yet.
WANTED = {
    '  tools: {t: {http: "https://x.example", allow: ["*"]}}\n': "tools are",
    "  files: {f: {dir: /tmp}}\n": "files are",
    "  memory: {store: {engine: qdrant}}\n": "memory store qdrant",
    "  orchestration: {engine: temporal}\n": "engine temporal",
    '  backup: {to: "file:///b", encrypt: {age: ["age1x"]}}\n': "backup",
    '  updates: {git: "https://x.example/a.git"}\n': "git repository",
    '  federation: {peers: {c: {key: "pai:x", url: "https://x.example"}}}\n': "federation",
    "  identity: {rotate: 30d}\n": "key rotation",
    '  models: {v: {task: transcribe, source: "file:///m"}}\n': "speech",
    '  models: {v: {task: chat, engine: vllm, source: "file:///m"}}\n': "engine vllm",
    '  models: {v: {task: embed, source: "file:///m.gguf"}}\n': "embedding with a .gguf file",
    '  models: {v: {task: chat, source: "ollama://m"}}\n': "ollama://",
    "  permissions: {budget: {money: 2 USD/day}}\n": "budget in money",
    "  permissions: {people: {bob: guest}, roles: {guest: {may: [chat]}}}\n": "role guest",
}


@pytest.mark.parametrize("line", WANTED)
def test_what_is_not_there_yet_is_named_with_its_line(line: str, tmp_path: Path) -> None:
    found = unavailable(manifest(tmp_path, line), "native")
    assert len(found) == 1, found
    assert WANTED[line] in found[0].summary
    assert "not available on driver native yet" in found[0].summary
    assert found[0].span is not None
    assert found[0].span.line == 6
    assert found[0].help


def test_everything_is_named_at_once_and_the_exit_code_is_4(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as raised:
        refuse_unavailable(manifest(tmp_path, "".join(WANTED_TOGETHER)), "native")
    assert raised.value.exit_code is ExitCode.REFUSED
    assert [one.span.line for one in raised.value.diagnostics if one.span] == [6, 7, 8]


WANTED_TOGETHER = [line for line in WANTED if line.startswith(("  files", "  orchestration", "  identity"))]


def test_the_quickstart_asks_for_nothing_that_is_missing() -> None:
    assert unavailable(load([QUICKSTART], env={}), "native") == []


@pytest.mark.parametrize("driver", ["kubernetes", "ansible"])
def test_a_driver_that_only_renders_says_so_at_its_target(driver: str) -> None:
    (found,) = unavailable(load([QUICKSTART], env={}), driver)
    assert "render" in found.help
