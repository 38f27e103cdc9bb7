"""What model files say of themselves, and what they can't do to whoever reads them."""

from __future__ import annotations

import hashlib
import io
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paictl.weights.cache import Cache
from paictl.weights.failures import BadFile
from paictl.weights.gguf import read
from paictl.weights.header import gguf_header
from paictl.weights.onnx import output_shapes
from paictl.weights.resolve import Resolved, resolve
from paictl.weights.sources import parse
from tests.weights.headers import LLAMA, TENSORS, gguf, onnx, text
from tests.weights.servers import Site, publish, wheel


@pytest.mark.parametrize("version", [2, 3])
def test_a_header_tells_what_the_model_is(version: int) -> None:
    data = gguf(LLAMA, TENSORS, version=version, content=36_000)
    found = read(io.BytesIO(data), len(data))
    assert (found.architecture, found.name, found.quantization) == ("llama", "Tiny", "Q4_K_M")
    assert (found.parameters, found.context, found.blocks, found.embedding) == (64_064, 4096, 2, 64)
    assert (found.heads, found.kv_heads, found.key_length, found.value_length) == (4, (2, 2), 16, 16)
    assert (found.vocabulary, found.has_chat_template, found.tensor_bytes) == (1000, True, 36_000)


def test_a_header_may_vary_by_block_and_say_lengths_itself() -> None:
    metadata = {
        **LLAMA,
        "llama.attention.head_count_kv": [3, 0],
        "llama.attention.key_length": 128,
        "llama.attention.value_length": 64,
        "llama.attention.sliding_window": 512,
        "llama.attention.sliding_window_pattern": [True, False],
    }
    del metadata["tokenizer.chat_template"]
    del metadata["general.file_type"]
    data = gguf(metadata, TENSORS)
    found = read(io.BytesIO(data), len(data))
    assert (found.kv_heads, found.key_length, found.value_length) == ((3, 0), 128, 64)
    assert (found.window, found.windowed) == (512, (True, False))
    assert (found.has_chat_template, found.quantization) == (False, "Q4_K")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<!DOCTYPE html>", "does not begin with GGUF"),
        (b"GGUF" + struct.pack("<I", 1) + bytes(16), "version 1"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(16), "version 50331648"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "does not name its architecture"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63), "ends within its header"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0), "announces 9223372036854775808 tensors"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62), "a text of 4611686018427387904 bytes"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<I", 99), "unknown kind 99"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, 10, 2**60), "larger than 64 MiB"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 20,
            "unknown kind 9",
        ),
        (gguf({**LLAMA, "llama.block_count": 2**31}), "announces 2147483648 blocks"),
        (gguf({**LLAMA, "llama.context_length": float("nan")}), "context_length = nan"),
        (gguf({**LLAMA, "llama.context_length": -1.0}), "context_length = -1"),
        (gguf(LLAMA, [("t", (2**40, 2**40), 0)]), "elements"),
        (gguf(LLAMA, TENSORS)[:-200], "ends within its header"),
    ],
)
def test_a_file_made_to_hurt_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BadFile, match=reason):
        read(io.BytesIO(data), len(data))


@settings(max_examples=300, deadline=1000)
@given(st.data())
def test_no_bytes_make_the_reader_fail_otherwise(data: st.DataObject) -> None:
    header = bytearray(gguf({**LLAMA, "tokenizer.ggml.tokens": ["a", "b"]}, TENSORS))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(4, len(header) - 1))
        header[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(header)))
    try:
        found = read(io.BytesIO(bytes(header[:cut])), cut)
    except BadFile:
        return
    assert found.blocks <= 4096
    assert 0 <= found.tensor_bytes <= cut


@settings(max_examples=200, deadline=1000)
@given(st.binary(max_size=2000))
def test_random_bytes_after_the_magic_are_refused_or_read(data: bytes) -> None:
    try:
        read(io.BytesIO(b"GGUF\x03\0\0\0" + data), len(data) + 8)
    except BadFile:
        return


def test_of_a_remote_file_only_the_beginning_travels(site: Site, cache: Cache) -> None:
    content = gguf(LLAMA, TENSORS, content=30_000_000)
    source = parse(site.add("/model.gguf", content))
    site.hold_at = 1_000_000  # whoever wants more than the header hangs here
    digest = hashlib.sha256(content).hexdigest()
    assert gguf_header(Resolved(source, source.text, len(content), digest), cache).parameters == 64_064


def test_a_header_inside_a_wheel_is_read_by_its_beginning_too(index: Site, cache: Cache) -> None:
    publish(index, wheel({"m/first": bytes(1000), "m/model.gguf": gguf(LLAMA, TENSORS, content=3_000_000)}))
    resolved = resolve(parse("pypi://some-model@1.0/m/model.gguf"), cache=cache)
    assert gguf_header(resolved, cache).tensor_bytes == 3_000_000
    index.ranges = False
    whole = resolve(parse("pypi://some-model@1.0/m/model.gguf"), cache=cache)
    assert whole.url.startswith("file:")
    assert gguf_header(whole, cache) == gguf_header(
        Resolved(resolved.source, whole.url, whole.size, None, whole.member), cache
    )


def test_a_bad_header_names_its_source(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"not a model")
    with pytest.raises(BadFile, match=r"file://model\.gguf: the file is no GGUF model"):
        gguf_header(resolve(parse("file://model.gguf", tmp_path)), cache)


def test_an_onnx_file_tells_the_length_of_its_vectors(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(onnx(384))
    assert output_shapes(tmp_path / "model.onnx") == {"last_hidden_state": (None, None, 384)}
    (tmp_path / "model.onnx").write_bytes(onnx(None))
    assert output_shapes(tmp_path / "model.onnx") == {"last_hidden_state": (None, None, None)}


@pytest.mark.parametrize("data", [b"", b"<!DOCTYPE html>", bytes(100), b"\xff" * 100, onnx(384)[:-1000]])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(BadFile):
        output_shapes(tmp_path / "model.onnx")


@settings(max_examples=300, deadline=1000)
@given(st.data())
def test_no_bytes_make_the_onnx_reader_fail_otherwise(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(onnx(384, weights=50))
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        output_shapes(path)
    except BadFile:
        return
