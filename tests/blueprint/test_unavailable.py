from __future__ import annotations

from pathlib import Path

import pytest

from paictl.blueprint.unavailable import left_idle, refuse_unavailable, unavailable
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
    '  updates: {git: "https://x.example/a.git", verify: none}\n': "git repository",
    '  federation: {peers: {c: {key: "pai:x", url: "https://x.example"}}}\n': "federation",
    "  identity: {rotate: 30d}\n": "key rotation",
    "  state: {engine: postgres}\n": "state in Postgres",
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


@pytest.mark.parametrize("driver", ["native", "ansible"])
def test_the_quickstart_asks_for_nothing_that_is_missing(driver: str) -> None:
    assert unavailable(load([QUICKSTART], env={}), driver) == []


# On docker more is there; these are the lines that still are not, and the words that name them.
STILL_WANTED = {
    '  models: {v: {task: chat, engine: vllm, source: "file:///m"}}\n': "vllm without a graphics card",
    '  models: {v: {task: chat, engine: mlc-llm, gpu: nvidia, source: "file:///m"}}\n': "an image of mlc-llm",
    '  models: {v: {task: embed, engine: ollama, source: "file:///m.gguf"}}\n': "engine ollama for embed",
    '  models: {v: {task: embed, gpu: nvidia, source: "file:///m.onnx"}}\n': "card for an embedding model",
    '  models: {v: {task: chat, source: "ollama://m"}}\n': "ollama://",
    '  models: {v: {task: transcribe, engine: whisper.cpp, source: "file:///m.bin"}}\n': "speech",
    "  memory: {store: {engine: qdrant}}\n": "memory store qdrant",
    '  memory: {store: {engine: qdrant, manage: external, url: "http://127.0.0.1:6333"}}\n': "external memory store",
    "  orchestration: {engine: n8n}\n": "engine n8n",
}


@pytest.mark.parametrize("line", STILL_WANTED)
def test_docker_names_what_it_does_not_have(line: str, tmp_path: Path) -> None:
    (found,) = unavailable(manifest(tmp_path, line), "docker")
    assert STILL_WANTED[line] in found.summary
    assert found.span is not None
    assert found.span.line == 6


@pytest.mark.parametrize(
    "line",
    [
        '  models: {v: {task: chat, engine: ollama, source: "file:///m.gguf"}}\n',
        '  models: {v: {task: chat, gpu: nvidia, source: "file:///m.gguf"}}\n',
        '  models: {v: {task: chat, engine: vllm, gpu: nvidia, source: "file:///m"}}\n',
        "  memory: {store: {engine: pgvector}}\n",
        "  memory: {store: {engine: chroma}}\n",
        '  memory: {store: {engine: chroma, manage: external, url: "http://127.0.0.1:8000"}}\n',
    ],
)
def test_docker_has_what_native_refuses(line: str, tmp_path: Path) -> None:
    assert unavailable(manifest(tmp_path, line), "docker") == []
    assert unavailable(manifest(tmp_path, line), "native")


def test_a_card_that_only_a_profile_wishes_for_is_a_warning_where_the_driver_has_none(tmp_path: Path) -> None:
    line = '  models: {chat: {task: chat, source: "file:///m.gguf"}}\n'
    manifest(tmp_path, line)
    path = tmp_path / "agent.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("driver: native", "driver: native, profile: workstation-gpu"),
        encoding="utf-8",
    )
    wished = load([path], env={})
    assert wished.agent.spec.models["chat"].gpu == "nvidia"
    assert unavailable(wished, "native") == []
    (idle,) = left_idle(wished, "native")
    assert idle.severity == "warning"
    assert "card stays idle" in idle.summary
    assert left_idle(wished, "docker") == []


def test_a_card_that_a_person_asks_for_is_refused_where_the_driver_has_none(tmp_path: Path) -> None:
    asked = manifest(tmp_path, '  models: {chat: {task: chat, gpu: nvidia, source: "file:///m.gguf"}}\n')
    (found,) = unavailable(asked, "native")
    assert "graphics card" in found.summary
    assert left_idle(asked, "native") == []
