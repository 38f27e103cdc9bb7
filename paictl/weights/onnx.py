"""The shape of an ONNX model's output, read by walking the file's protobuf; called by ``fit`` for the embedding identity.

So the reconciler learns a model's dimension without onnxruntime. Field numbers: onnx/onnx.proto (ModelProto.graph = 7,
GraphProto.output = 12, ValueInfoProto.name = 1, .type = 2, TypeProto.tensor_type = 1, Tensor.shape = 2, TensorShapeProto.dim = 1,
Dimension.dim_value = 1); the encoding: protobuf.dev, "Encoding". Weights are skipped, never read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from paictl.weights.failures import BadFile

__all__ = ["output_shapes"]

_OUTPUT_LIMIT = 64 * 1024
_FIELDS_LIMIT = 1_000_000


def output_shapes(path: Path) -> dict[str, tuple[int | None, ...]]:
    """Each graph output's shape, ``None`` for a dimension that varies. Raises ``BadFile``."""
    with path.open("rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        shapes: dict[str, tuple[int | None, ...]] = {}
        for begin, length in _find(handle, 0, size, 7):
            for start, extent in _find(handle, begin, begin + length, 12):
                if extent > _OUTPUT_LIMIT:
                    raise _damaged(path)
                handle.seek(start)
                name, shape = _value_info(handle.read(extent), path)
                shapes[name] = shape
    if not shapes:
        raise _damaged(path)
    return shapes


def _find(handle: BinaryIO, begin: int, stop: int, wanted: int) -> Iterator[tuple[int, int]]:
    """The places and lengths of the embedded messages with field number ``wanted``; everything else is jumped over."""
    at = begin
    for _ in range(_FIELDS_LIMIT):
        if at >= stop:
            return
        handle.seek(at)
        head = handle.read(20)  # a tag and a length are at most ten bytes each
        tag, used = _varint(head, 0)
        at += used
        match tag & 7:
            case 0:
                at += _varint(head, used)[1]
            case 1:
                at += 8
            case 5:
                at += 4
            case 2:
                length, more = _varint(head, used)
                at += more
                if at + length > stop:
                    raise BadFile("the ONNX file ends within a field", help="download it again")
                if tag >> 3 == wanted:
                    yield at, length
                at += length
            case _:
                raise BadFile("the file is no ONNX model", help="check the source")
    raise BadFile("the ONNX file has too many fields", help="the file is damaged or hostile; don't use it")


def _value_info(message: bytes, path: Path) -> tuple[str, tuple[int | None, ...]]:
    fields = _fields(message, path)
    name = next((value for number, value in fields if number == 1 and isinstance(value, bytes)), b"").decode(
        "utf-8", "replace"
    )
    shape = message
    for number in (2, 1, 2):  # type, tensor_type, shape
        found = [value for field, value in _fields(shape, path) if field == number and isinstance(value, bytes)]
        if not found:
            return name, ()
        shape = found[-1]
    dimensions: list[int | None] = []
    for number, value in _fields(shape, path):
        if number == 1 and isinstance(value, bytes):
            dimensions.append(
                next((size for field, size in _fields(value, path) if field == 1 and isinstance(size, int)), None)
            )
    return name, tuple(dimensions)


def _fields(message: bytes, path: Path) -> list[tuple[int, int | bytes]]:
    found: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(message):
        tag, used = _varint(message, at)
        at += used
        if tag & 7 == 0:
            value, used = _varint(message, at)
            found.append((tag >> 3, value))
            at += used
        elif tag & 7 == 2:
            length, used = _varint(message, at)
            at += used
            if at + length > len(message):
                raise _damaged(path)
            found.append((tag >> 3, message[at : at + length]))
            at += length
        elif tag & 7 in {1, 5}:
            at += 8 if tag & 7 == 1 else 4
        else:
            raise _damaged(path)
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A base-128 number and how many bytes it took."""
    value = 0
    for used, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * used)
        if not byte & 0x80:
            return value, used + 1
    raise BadFile("the ONNX file has a damaged number", help="download it again")


def _damaged(path: Path) -> BadFile:
    return BadFile(f"{path.name} is no ONNX model that can be read", help="check the source; download it again")
