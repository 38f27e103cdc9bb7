"""GGUF and ONNX files for tests, written from their specifications."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def _value(value: object) -> bytes:
    if isinstance(value, list):
        kind, content = (
            (8, b"".join(text(item) for item in value))
            if isinstance(value[0], str)
            else (5, struct.pack(f"<{len(value)}i", *value))
        )
        if isinstance(value[0], bool):
            kind, content = 7, bytes(value)
        return struct.pack("<IIQ", 9, kind, len(value)) + content
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    return struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value)


def gguf(
    metadata: Mapping[str, object],
    tensors: Sequence[tuple[str, Sequence[int], int]] = (),
    *,
    version: int = 3,
    content: int = 0,
) -> bytes:
    """A GGUF file; a tensor is its name, its dimensions and its type."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    out += b"".join(text(key) + _value(value) for key, value in metadata.items())
    for name, dimensions, kind in tensors:
        out += text(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, 0)
    return out + bytes(-len(out) % 32) + bytes(content)


LLAMA: Mapping[str, object] = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "general.file_type": 15,
    "llama.context_length": 4096,
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.tokens": [f"token{number}" for number in range(1000)],
    "tokenizer.chat_template": "{{ messages }}",
}
TENSORS = (("token_embd.weight", (64, 1000), 12), ("output_norm.weight", (64,), 0))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def onnx(dimension: int | None, *, weights: int = 100_000) -> bytes:
    """An ONNX file with one output of shape (batch, sequence, dimension)."""
    last = _message(1, _integer(1, dimension)) if dimension is not None else _message(1, _message(2, b"hidden"))
    shape = _message(1, _message(2, b"batch")) + _message(1, _message(2, b"sequence")) + last
    tensor = _integer(1, 1) + _message(2, shape)
    output = _message(1, b"last_hidden_state") + _message(2, _message(1, tensor))
    graph = _message(1, b"node") + _message(5, bytes(weights)) + _message(12, output)
    return _integer(1, 8) + _message(2, b"test") + _message(7, graph)
