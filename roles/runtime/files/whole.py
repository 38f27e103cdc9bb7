"""Whether a build is as it was when it had been installed: exits 1 where it is not, or was never finished.

Its Python, too: a new Debian has another one, and a venv is of one alone.
"""

import hashlib
import os
import sys

FOLDER = sys.argv[1]
MARK = os.path.join(FOLDER, ".installed")


def told():
    """Names, sizes and times of everything, and the Python that it was made for."""
    digest = hashlib.sha256(os.path.realpath(sys.executable).encode())
    for folder, folders, files in os.walk(FOLDER):
        # What Python writes by itself where root runs it is no alteration.
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for path in sorted(os.path.join(folder, name) for name in files):
            if path != MARK:
                found = os.lstat(path)
                digest.update(f"{path} {found.st_size} {found.st_mtime_ns} {found.st_mode}\n".encode())
    return digest.hexdigest()


if "--mark" in sys.argv:
    with open(MARK, "w", encoding="ascii") as file:
        file.write(told())
        file.flush()
        os.fsync(file.fileno())
else:
    try:
        with open(MARK, encoding="ascii") as file:
            sys.exit(file.read() != told())
    except FileNotFoundError:
        sys.exit(1)
