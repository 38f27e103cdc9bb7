"""How much memory a model takes while it runs, computed from its header before it is fetched; pure, called by the rest of ``fit``.

An upper bound: a model that passes must not be killed later. Against llama.cpp's server with SmolLM2-135M the total is never
below the resident memory and at most 40 % above it, and less above it for larger ones: what is too much is the half of the
logits' buffer that llama.cpp reserves and rarely touches (``tests/fit/test_against_llama.py`` measures it).
"""

from __future__ import annotations

from dataclasses import dataclass

from paictl.weights.gguf import Gguf

__all__ = ["Memory", "estimated", "need", "of_folder", "of_onnx", "of_speech"]

_MIB = 1024**2
_F16_BYTES = 2  # the K and V caches' type unless told otherwise
_BATCH = 512  # llama.cpp's n_ubatch: how many tokens are computed at once
_PROCESS = (
    64 * _MIB
)  # Python, llama.cpp's own code and its HTTP server; 31 MiB measured on x86-64 before a model is loaded
_ONNX_PROCESS = 240 * _MIB  # Python, onnxruntime, tokenizers, numpy; 264 MB measured with a model of 23 MB

# PyTorch or TVM with CUDA, in the server and in its engine: an estimate, not measured. The weights pass through mapped pages.
_CARD_PROCESSES = 6 * 1024 * _MIB


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: the weights, the attention cache of all conversations at once, and what computing takes."""

    weights: int
    kv_cache: int
    overhead: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.kv_cache + self.overhead


def need(model: Gguf, context: int, parallel: int = 1) -> Memory:
    """What llama.cpp needs for a model with ``parallel`` conversations of ``context`` tokens each.

    K and V: for each block, cells x KV heads x (key length + value length) x 2 bytes (llama.cpp, src/llama-kv-cache.cpp). A block
    with a sliding window keeps window + batch cells, rounded up to 256 (src/llama-kv-cache-iswa.cpp); where the header does not
    say which blocks have one, all are counted in full.
    """
    cells = -(-context // 256) * 256
    short = min(cells, -(-(model.window + _BATCH) // 256) * 256)
    windowed = model.windowed or (False,) * model.blocks
    tokens = sum(heads * (short if window else cells) for heads, window in zip(model.kv_heads, windowed, strict=True))
    kv_cache = parallel * tokens * (model.key_length + model.value_length) * _F16_BYTES
    return Memory(model.tensor_bytes, kv_cache, _PROCESS + _computing(model.vocabulary, model.embedding))


def estimated(size: int, kv_bytes_per_token: int, vocabulary: int, context: int) -> Memory:
    """The same for a model of the catalogue, whose header is not here yet."""
    return Memory(size, kv_bytes_per_token * context, _PROCESS + _computing(vocabulary, 4096))


def of_onnx(size: int) -> Memory:
    """An embedding model under onnxruntime: it copies the weights into its own layout, and keeps both while it loads."""
    return Memory(2 * size, 0, _ONNX_PROCESS)


def of_speech(size: int) -> Memory:
    """A whisper model: its file, half as much again for its buffers, and the audio window. An estimate, not measured."""
    return Memory(size, size // 2, _PROCESS + 128 * _MIB)


def of_folder() -> Memory:
    """A model that lies on a graphics card, whatever its size: only the programs that brought it there are in memory."""
    return Memory(0, 0, _CARD_PROCESSES)


def _computing(vocabulary: int, embedding: int) -> int:
    # The largest buffer of the graph is the logits of a batch, 4 bytes each; what else lives beside it scales with the
    # embedding. SmolLM2-135M: 100.5 MiB computed, 99.4 reserved by llama.cpp.
    return _BATCH * 4 * (vocabulary + 4 * embedding)
