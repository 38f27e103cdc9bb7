"""llama.cpp's server as paictl starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.conftest import Weights
from tests.runtime.engines.enginetest import Engine


@pytest.fixture
def engine() -> Iterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="llama") as folder:
        config = {
            "listen": "unix:run/api.sock",
            "model": "model.gguf",
            "alias": "chat",
            "context": 512,
            "max_tokens": 8,
        }
        engine = Engine("llamacpp", Path(folder), config)
        yield engine
        engine.kill()


def test_a_missing_model_is_one_loud_line(engine: Engine) -> None:
    assert engine.ends() == (1, "llamacpp: the model file model.gguf is missing\n")


def test_a_file_that_is_no_model_is_one_loud_line(engine: Engine) -> None:
    (engine.root / "model.gguf").write_text("<html>404</html>")
    assert engine.ends() == (1, "llamacpp: model.gguf is no GGUF file\n")


def test_a_corrupt_model_is_one_loud_line_with_llamacpps_reason(engine: Engine) -> None:
    (engine.root / "model.gguf").write_bytes(b"GGUF" + b"\xff" * 64)
    code, log = engine.ends()
    assert code == 1
    assert log.startswith("llamacpp: llama.cpp can't serve model.gguf on unix:run/api.sock: ")
    assert log.count("\n") == 1


def test_what_llamacpp_says_late_stays_unsaid_too(engine: Engine) -> None:
    """Its lines come from a thread of its own, on a busy machine only when the start has failed already."""
    (engine.root / "model.gguf").write_bytes(b"GGUF" + b"\xff" * 64)
    tally = Counter[tuple[int, int]]()
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        for _ in range(3):
            code, log = engine.ends()
            tally[code, log.count("\n")] += 1
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    assert tally == {(1, 1): 3}


@pytest.mark.parametrize("listen", ["unix:run/api", "8080", "http://x"])
def test_an_address_that_it_cannot_listen_on_is_named(engine: Engine, listen: str) -> None:
    (engine.root / "model.gguf").write_bytes(b"GGUF")
    engine.config["listen"] = listen
    assert engine.ends() == (
        1,
        f"llamacpp: it can't listen on {listen}: unix:PATH.sock or tcp:HOST:PORT is needed\n",
    )


def test_a_configuration_that_is_wrong_is_one_line(engine: Engine) -> None:
    engine.config = {"listen": "unix:run/api.sock"}
    code, log = engine.ends()
    assert code == 1
    assert "model" in log
    assert log.count("\n") == 1


@pytest.mark.real
@pytest.mark.slow
def test_it_answers_within_its_bounds_shows_no_prompts_and_ends_when_told(engine: Engine, weights: Weights) -> None:
    (engine.root / "model.gguf").symlink_to(weights.chat)
    engine.start()
    with engine.client() as client:
        asked = {"model": "chat", "messages": [{"role": "user", "content": "Tell me a long story."}]}
        answer = client.post("/v1/chat/completions", json=asked).json()
        assert answer["usage"]["completion_tokens"] == 8
        assert client.get("/v1/models").json()["data"][0]["id"] == "chat"
        assert client.get("/slots").status_code == 501
    assert engine.stop() == 0
    assert not (engine.root / "run/api.sock").exists()
    assert engine.log.count("\n") == 1


@pytest.mark.real
@pytest.mark.slow
def test_an_answer_that_has_begun_is_told_to_its_end(engine: Engine, weights: Weights) -> None:
    (engine.root / "model.gguf").symlink_to(weights.chat)
    engine.config["max_tokens"] = 200
    engine.start()
    assert engine.process is not None
    asked = {"messages": [{"role": "user", "content": "Tell me a long story."}], "stream": True, "ignore_eos": True}
    with engine.client() as client, client.stream("POST", "/v1/chat/completions", json=asked) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data: ")
        engine.process.terminate()
        assert [line for line in lines if line][-1] == "data: [DONE]"
    assert engine.process.wait(5) == 0


@pytest.mark.real
@pytest.mark.slow
def test_it_comes_back_after_a_kill_in_spite_of_the_socket_left_behind(engine: Engine, weights: Weights) -> None:
    (engine.root / "model.gguf").symlink_to(weights.chat)
    engine.start()
    engine.kill()
    assert (engine.root / "run/api.sock").exists()
    engine.start()
    assert engine.stop() == 0
