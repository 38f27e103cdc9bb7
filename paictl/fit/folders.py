"""Models that are a folder of files (safetensors, converted weights) and not one file: what belongs to one. Called by ``resolve``."""

from __future__ import annotations

from pathlib import Path

from paictl.errors import UsageError
from paictl.weights.sources import Source

__all__ = ["SERVED_BY", "files_of", "is_folder"]

SERVED_BY = ("vllm", "mlc-llm")
"""The engines that take a folder, and nothing else."""


def is_folder(source: Source) -> bool:
    """Whether the source is a folder of this machine."""
    return source.scheme == "file" and Path(source.path).is_dir()


def files_of(source: Source, address: str) -> list[Path]:
    """The folder's files, the largest first: the weights. Hidden ones, such as a checkout's, don't belong to the model.

    Raises ``UsageError`` for what can't be a model: folders in it, or less than weights and their configuration.
    """
    found = [path for path in sorted(Path(source.path).iterdir()) if not path.name.startswith(".")]
    inner = [path.name for path in found if not path.is_file()]
    if inner:
        raise UsageError(
            f"{address}: {source.path} has {inner[0]} in it, which is no file",
            help="put the model's own files, and nothing else, directly into the folder",
        )
    if len(found) < 2:
        raise UsageError(
            f"{address}: {source.path} is no model: weights and their configuration are needed",
            help="name the folder that holds config.json, the tokenizer and the weights",
        )
    return sorted(found, key=lambda path: (-path.stat().st_size, path.name))
