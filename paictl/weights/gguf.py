"""What a GGUF file says of itself, read from its first bytes; pure, and bounded against files made to hurt.

Called by ``fit`` with an open file or with the beginning of a remote one. The format: ggml's ``docs/gguf.md``, versions 2 and
3 (they differ in byte order only, and every published model is little-endian). Tensor contents are never read.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Protocol

from paictl.weights.failures import BadFile

__all__ = ["Gguf", "Readable", "read"]

_HEADER_LIMIT = 64 * 1024 * 1024  # the largest vocabularies in use take about 16 MiB
_KEY_LIMIT = 65535  # docs/gguf.md: "at most 2^16-1 bytes long"
_TEXT_LIMIT = 1024 * 1024
_BLOCKS_LIMIT = 4096
_TENSORS_LIMIT = 1_000_000
_NESTING_LIMIT = 4
_BIGGEST_NUMBER = 2**48

_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_SCALARS = {kind: struct.Struct(code) for kind, code in _NUMBERS.items()}

# ggml_type (docs/gguf.md) and llama_ftype (llama.cpp's include/llama.h), by their numbers; "-" where one was withdrawn.
_TYPES = """F32 F16 Q4_0 Q4_1 - - Q5_0 Q5_1 Q8_0 Q8_1 Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K IQ2_XXS IQ2_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S
    IQ2_S IQ4_XS I8 I16 I32 I64 F64 IQ1_M BF16 - - - TQ1_0 TQ2_0 - - - MXFP4""".split()  # noqa: SIM905 - a table, to be compared with its source
_FILE_TYPES = """F32 F16 Q4_0 Q4_1 - - - Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ2_XXS
    IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16 - - - TQ1_0 TQ2_0 MXFP4""".split()  # noqa: SIM905 - another

_Value = int | float | str | tuple["int | float", ...] | None


class Readable(Protocol):
    """Something bytes come from, in order."""

    def read(self, size: int, /) -> bytes:
        """At most that many more bytes; none at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Gguf:
    """A model's own description. Lengths count elements, ``context`` tokens, ``tensor_bytes`` bytes.

    ``kv_heads`` has one entry a block: architectures may vary them, and blocks without attention have 0. ``windowed`` tells the
    blocks whose attention reaches back ``window`` tokens only; it is empty where the header does not say which.
    """

    architecture: str
    name: str
    parameters: int
    quantization: str
    context: int
    blocks: int
    embedding: int
    heads: int
    kv_heads: tuple[int, ...]
    key_length: int
    value_length: int
    window: int
    windowed: tuple[bool, ...]
    vocabulary: int
    has_chat_template: bool
    tensor_bytes: int


def read(stream: Readable, size: int) -> Gguf:
    """Read the header of a file of ``size`` bytes. Raises ``BadFile`` for whatever is no sound GGUF header."""
    cursor = _Cursor(stream)
    if cursor.take(4) != b"GGUF":
        raise BadFile(
            "the file is no GGUF model: it does not begin with GGUF",
            help="check the source; a web page may have come instead",
        )
    version = cursor.number("<I")
    if version not in {2, 3}:
        raise BadFile(
            f"GGUF version {version} is not one that can be read (2, 3)",
            help="convert the model with a current llama.cpp",
        )
    tensors, pairs = cursor.number("<Q"), cursor.number("<Q")
    metadata = _Metadata(cursor, pairs)
    parameters, types = _tensors(cursor, tensors)
    alignment = metadata.number("general.alignment", 32) or 32
    begin = -(-cursor.at // alignment) * alignment
    if begin > size and tensors:
        raise BadFile("the GGUF file ends within its header", help="download it again")
    return _describe(metadata, parameters, types, max(0, size - begin))


class _Cursor:
    """Reads forward, never more than a header may have."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._buffer = b""
        self._offset = 0
        self.at = 0

    def take(self, size: int) -> bytes:
        if self.at + size > _HEADER_LIMIT:
            raise BadFile(
                f"the GGUF header is larger than {_HEADER_LIMIT >> 20} MiB",
                help="the file is damaged or hostile; don't use it",
            )
        while len(self._buffer) - self._offset < size:
            more = self._stream.read(max(64 * 1024, size))
            if not more:
                raise BadFile("the GGUF file ends within its header", help="download it again")
            self._buffer = self._buffer[self._offset :] + more
            self._offset = 0
        found = self._buffer[self._offset : self._offset + size]
        self._offset += size
        self.at += size
        return found

    def number(self, code: str) -> int:
        return int(struct.unpack(code, self.take(struct.calcsize(code)))[0])

    def text(self, limit: int) -> str:
        length = self.number("<Q")
        if length > limit:
            raise BadFile(
                f"the GGUF header has a text of {length} bytes", help="the file is damaged or hostile; don't use it"
            )
        return self.take(length).decode("utf-8", "replace")

    def skip_text(self) -> None:
        self.take(self.number("<Q"))


class _Metadata(dict[str, _Value]):
    """The header's keys and values. Of arrays it keeps short numeric ones, and of the others how long they are."""

    def __init__(self, cursor: _Cursor, pairs: int) -> None:
        super().__init__()
        self.lengths: dict[str, int] = {}
        for _ in range(pairs):
            key = cursor.text(_KEY_LIMIT)
            self[key] = self._value(cursor, cursor.number("<I"), key, 0)

    def _value(self, cursor: _Cursor, kind: int, key: str, depth: int) -> _Value:
        if kind in _SCALARS:
            return _scalar(cursor, kind)
        if kind == _STRING:
            return cursor.text(_TEXT_LIMIT)
        if kind != _ARRAY or depth > _NESTING_LIMIT:
            raise BadFile(
                f"the GGUF header has a value of unknown kind {kind}",
                help="the file is damaged, or newer than this paictl",
            )
        inner, length = cursor.number("<I"), cursor.number("<Q")
        if depth == 0:
            self.lengths[key] = length
        if inner in _SCALARS:
            content = cursor.take(length * _SCALARS[inner].size)
            return tuple(item[0] for item in _SCALARS[inner].iter_unpack(content)) if length <= _BLOCKS_LIMIT else None
        for _ in range(length):
            if inner == _STRING:
                cursor.skip_text()
            else:
                self._value(cursor, inner, key, depth + 1)
        return None

    def number(self, key: str, default: int = 0) -> int:
        """A whole number that a model can have; of an array, the largest."""
        value = self.get(key)
        if isinstance(value, tuple):
            value = max(value, default=default)
        if value is None or isinstance(value, str):
            return default
        if not 0 <= value <= _BIGGEST_NUMBER:  # also refuses NaN
            raise BadFile(f"the GGUF header says {key} = {value}", help="the file is damaged or hostile; don't use it")
        return int(value)

    def text(self, key: str) -> str:
        value = self.get(key)
        return value if isinstance(value, str) else ""

    def each(self, key: str, count: int, default: int) -> tuple[int, ...]:
        """One whole number a block, from an array or from one number for all."""
        value = self.get(key)
        if isinstance(value, tuple) and len(value) == count and all(0 <= item <= _BIGGEST_NUMBER for item in value):
            return tuple(int(item) for item in value)
        return (self.number(key, default),) * count


def _scalar(cursor: _Cursor, kind: int) -> int | float:
    value: int | float = _SCALARS[kind].unpack(cursor.take(_SCALARS[kind].size))[0]
    return value


def _named(names: list[str], number: int) -> str:
    return names[number] if number < len(names) else "-"


def _tensors(cursor: _Cursor, count: int) -> tuple[int, Mapping[str, int]]:
    """How many parameters the tensors hold together, and how many of each type."""
    if count > _TENSORS_LIMIT:
        raise BadFile(f"the GGUF header announces {count} tensors", help="the file is damaged or hostile; don't use it")
    types: Counter[str] = Counter()
    for _ in range(count):
        cursor.skip_text()
        dimensions = cursor.number("<I")
        if dimensions > 8:
            raise BadFile(
                f"a tensor of the GGUF file has {dimensions} dimensions",
                help="the file is damaged or hostile; don't use it",
            )
        elements = prod(cursor.number("<Q") for _ in range(dimensions))
        if elements > _BIGGEST_NUMBER:
            raise BadFile(
                f"a tensor of the GGUF file has {elements} elements",
                help="the file is damaged or hostile; don't use it",
            )
        kind = cursor.number("<I")
        types[_named(_TYPES, kind)] += elements
        cursor.take(8)  # the offset of its content
    return types.total(), types


def _describe(metadata: _Metadata, parameters: int, types: Mapping[str, int], tensor_bytes: int) -> Gguf:
    architecture = metadata.text("general.architecture")
    if not architecture:
        raise BadFile("the GGUF file does not name its architecture", help="it may be a tokenizer or an adapter only")
    prefix = f"{architecture}."
    blocks = metadata.number(f"{prefix}block_count")
    if blocks > _BLOCKS_LIMIT:
        raise BadFile(f"the GGUF header announces {blocks} blocks", help="the file is damaged or hostile; don't use it")
    heads = metadata.number(f"{prefix}attention.head_count")
    embedding = metadata.number(f"{prefix}embedding_length")
    per_head = embedding // heads if heads else 0  # the default of both lengths: docs/gguf.md, "Attention"
    pattern = metadata.get(f"{prefix}attention.sliding_window_pattern")
    # Where no file type is given, what most parameters are stored as.
    usual = max(types, key=lambda kind: types[kind], default="-")
    named = _named(_FILE_TYPES, metadata.number("general.file_type", 1024))
    return Gguf(
        architecture=architecture,
        name=metadata.text("general.name"),
        parameters=parameters,
        quantization=named if named != "-" else usual,
        context=metadata.number(f"{prefix}context_length"),
        blocks=blocks,
        embedding=embedding,
        heads=heads,
        kv_heads=metadata.each(f"{prefix}attention.head_count_kv", blocks, heads),
        key_length=metadata.number(f"{prefix}attention.key_length", per_head),
        value_length=metadata.number(f"{prefix}attention.value_length", per_head),
        window=metadata.number(f"{prefix}attention.sliding_window"),
        windowed=tuple(bool(item) for item in pattern) if isinstance(pattern, tuple) and len(pattern) == blocks else (),
        vocabulary=metadata.lengths.get("tokenizer.ggml.tokens", 0) or metadata.number(f"{prefix}vocab_size"),
        has_chat_template=bool(metadata.text("tokenizer.chat_template")),
        tensor_bytes=tensor_bytes,
    )
