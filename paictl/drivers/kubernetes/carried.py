"""The two programs that run in the pod which brings model files: how far one is, and taking the rest of it. Used by ``weights``.

Arguments of both: path, SHA-256, size. What came before a connection broke off stays as PATH.part, locked by who writes it.
"""

from __future__ import annotations

__all__ = ["LOOK", "TAKE"]

_COMMON = """
import fcntl, hashlib, os, sys
path, wanted, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
part = path + ".part"
def digest(of):
    told = hashlib.sha256()
    with open(of, "rb") as file:
        while piece := file.read(1 << 20):
            told.update(piece)
    return told
"""

LOOK = (
    _COMMON
    + """
if os.path.exists(path) and os.path.getsize(path) == size and digest(path).hexdigest() == wanted:
    print("whole")
    sys.exit()
os.makedirs(os.path.dirname(path), exist_ok=True)
with open(part, "ab") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    done = os.path.getsize(part)
    if done > size:
        file.truncate(done := 0)
room = os.statvfs(part)
free = room.f_bavail * room.f_frsize
if free < size - done:
    sys.exit(f"its volume has room for {free >> 20} MiB more, and {size - done >> 20} MiB are to come")
print(done)
"""
)
"""Prints ``whole``, or how many bytes there are of it; fails where the rest has no room."""

TAKE = (
    _COMMON
    + """
failed = None
with open(part, "ab") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    told = digest(part)
    while piece := sys.stdin.buffer.read1(1 << 20):
        # What nobody reads can keep the cluster from ending a command: so it is read also when it has no place.
        try:
            if failed is None:
                file.write(piece)
                told.update(piece)
        except OSError as error:
            failed = error.strerror
    if failed is None:
        file.flush()
        os.fsync(file.fileno())
done = os.path.getsize(part)
if failed is not None:
    sys.exit(failed)
if done < size:
    sys.exit("the connection broke off")
if told.hexdigest() != wanted:
    os.unlink(part)
    sys.exit("what came is not the file")
os.chmod(part, 0o444)
os.replace(part, path)
"""
)
"""Takes from its input what there is not yet, and puts the whole in its place."""
