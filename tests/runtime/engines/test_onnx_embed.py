"""The embedding server: what it answers, and how it fails."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.conftest import Weights
from tests.runtime.engines.enginetest import Engine


@pytest.fixture
def engine() -> Iterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="embed") as folder:
        config = {"listen": "unix:run/api.sock", "model": "model.onnx", "tokenizer": "tokenizer.json", "alias": "embed"}
        engine = Engine("onnx_embed", Path(folder), config)
        yield engine
        engine.kill()


def test_a_missing_model_is_one_loud_line(engine: Engine) -> None:
    assert engine.ends() == (1, "onnx_embed: the model file model.onnx is missing\n")


def test_a_broken_model_is_one_loud_line(engine: Engine) -> None:
    (engine.root / "model.onnx").write_text("no")
    (engine.root / "tokenizer.json").write_text("{}")
    code, log = engine.ends()
    assert code == 1
    assert log.startswith("onnx_embed: model.onnx with tokenizer.json can't be used: ")
    assert log.count("\n") == 1


@pytest.mark.real
def test_vectors_have_unit_length_and_tell_meanings_apart_in_any_batch(engine: Engine, weights: Weights) -> None:
    (engine.root / "model.onnx").symlink_to(weights.embed)
    (engine.root / "tokenizer.json").symlink_to(weights.tokenizer)
    engine.start()
    texts = ["My sister's name is Ines.", "What is my sister called?", "Bananas are yellow.", "", "word " * 400]
    with engine.client() as client:

        def vectors(inputs: list[str] | str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
            answer = client.post("/v1/embeddings", json={"model": "embed", "input": inputs}).json()
            assert [one["index"] for one in answer["data"]] == list(range(len(answer["data"])))
            return np.array([one["embedding"] for one in answer["data"]])

        together = vectors(texts)
        assert together.shape == (5, 384)
        assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
        assert together[0] @ together[1] > 0.5 > together[0] @ together[2]
        # What shares its batch changes a vector no more than the model's 8-bit arithmetic does.
        assert vectors(texts[0])[0] @ together[0] > 0.98
        many = vectors([f"{text} {number}" for number in range(30) for text in texts[:3]])
        assert many.shape == (90, 384)
        packed = client.post("/v1/embeddings", json={"input": texts[0], "encoding_format": "base64"}).json()
        assert np.frombuffer(base64.b64decode(packed["data"][0]["embedding"]), "<f4").shape == (384,)
        wrongs: list[dict[str, object]] = [{}, {"input": []}, {"input": [1]}, {"input": "a", "encoding_format": "x"}]
        for wrong in wrongs:
            refused = client.post("/v1/embeddings", json=wrong)
            assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")
    assert engine.stop() == 0
    assert engine.log.count("\n") == 1
