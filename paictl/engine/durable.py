"""Files that are whole or absent after any crash: temporary file, fsync, rename, directory fsync. Used by what keeps state."""

from __future__ import annotations

import os
from pathlib import Path

from paictl.disk import sync_directory
from paictl.engine.points import OnPoint, pass_by
from paictl.errors import PaictlError

__all__ = ["write_durably"]


def write_durably(path: Path, content: bytes, on_point: OnPoint = pass_by) -> None:
    """Replace the file's content; readers see the old or the new one, never a part. Raises ``PaictlError`` when it can't.

    Unlike that of ``paictl.disk.replace_file`` the temporary name is always the same, since under the lock there is one
    writer: whatever a crash leaves there is overwritten by the next one.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        on_point("during-state-write", path.name)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise PaictlError(
            f"can't write {path}: {error.strerror}", help="What was there before is intact. Make room, and apply again."
        ) from error
