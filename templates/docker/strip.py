"""Takes out of an environment what never runs in a container: python3 strip.py VENV. Standard library only.

Run by the Dockerfile in the stage that builds. What goes, and why, stands in the two lists.
"""

import importlib.metadata
import mmap
import shutil
import struct
import sys
from pathlib import Path

# Locked, because the packages that are used ask for them, but imported by nothing that runs in a container.
UNUSED = (
    "setuptools",  # for supervisor
    "supervisor",  # keeps processes alive on hosts; here the engine does
    "huggingface-hub", "hf-xet", "fsspec", "filelock", "tqdm",  # tokenizers downloading by name; ours reads a file
    "tiktoken", "regex",  # counting tokens for OpenAI's own models
    "requests", "charset-normalizer",  # for tiktoken
    "flatbuffers", "protobuf",  # for onnxruntime's converters
    "pycparser",  # for cffi where it compiles
)  # fmt: skip

# Parts of packages. Paths are globs below site-packages.
PARTS = (
    "**/*.pyi", "**/*.pxd", "**/*.h", "**/*.hpp", "**/*.c", "**/*.cpp", "**/*.a",  # for compilers and type checkers
    "**/tests", "apsw/fts_test_strings", "numpy/conftest.py",
    "apsw/sqlite_extra*", "apsw/speedtest.py", "apsw/shell.py",  # command line tools and extensions that nobody loads
    "numpy/f2py", "numpy/distutils", "numpy/_pyinstaller", "numpy/doc",  # building software with numpy
    "onnxruntime/tools", "onnxruntime/transformers", "onnxruntime/quantization",  # making models, not running them
    "onnxruntime/datasets", "onnxruntime/backend",
    "sqlalchemy/testing", "sqlalchemy/dialects/mssql", "sqlalchemy/dialects/mysql", "sqlalchemy/dialects/oracle",  # others' databases
    "onnxruntime/capi/libonnxruntime.so*",  # the same engine once more, for programs in C; Python's module has its own
)  # fmt: skip


def without_unused(site):
    for path in site.glob("**/*.pyc"):
        path.unlink()
    for distribution in importlib.metadata.distributions(path=[str(site)]):
        if distribution.name.lower().replace("_", "-") in UNUSED:
            for file in distribution.files:
                Path(file.locate()).unlink(missing_ok=True)
    for pattern in PARTS:
        for path in sorted(site.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()
    for path in sorted(site.glob("**/"), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()


def packed(content):
    """A shared library with nothing but what the loader maps: symbols for debuggers go, and so do the gaps they leave.

    ELF, 64 bits, little-endian, as both amd64 and arm64 have it. The loader reads the program headers alone; each says where
    in the file a segment lies, equal to its address modulo its alignment. The segments are moved together and the section
    headers, which only linkers and debuggers read, are dropped. Anything unexpected stays as it is.
    """
    if content[:6] != b"\x7fELF\x02\x01":
        return None
    table, size, count = *struct.unpack_from("<Q", content, 32), *struct.unpack_from("<HH", content, 54)
    headers = [list(struct.unpack_from("<IIQQQQQQ", content, table + i * size)) for i in range(count)]
    # type, flags, offset, virtual address, physical address, size in the file, size in memory, alignment
    loads = sorted((header for header in headers if header[0] == 1 and header[5]), key=lambda header: header[2])
    moves, result = [], bytearray()
    for _, _, offset, _, _, length, _, alignment in loads:
        at = len(result) + (offset - len(result)) % alignment
        if at > offset or (moves and offset < moves[-1][1]):
            return None
        moves.append((offset, offset + length, at))
        result += bytes(at - len(result)) + content[offset : offset + length]

    def moved(offset, length):
        return next((at + offset - start for start, end, at in moves if start <= offset and offset + length <= end), None)

    home = moved(table, size * count)
    places = [moved(header[2], header[5]) if header[5] else header[2] for header in headers]
    if home is None or None in places or moves[0][0] != 0:
        return None
    for i, (header, place) in enumerate(zip(headers, places)):
        struct.pack_into("<IIQQQQQQ", result, home + i * size, *header[:2], place, *header[3:])
    struct.pack_into("<QQ", result, 32, home, 0)
    struct.pack_into("<HH", result, 60, 0, 0)
    return result


def without_symbols(site):
    for path in site.glob("**/*.so*"):
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            smaller = packed(content)
        if smaller and len(smaller) < path.stat().st_size:
            path.write_bytes(smaller)


def main():
    (site,) = Path(sys.argv[1]).glob("lib/python3.*/site-packages")
    without_unused(site)
    without_symbols(site)


main()
