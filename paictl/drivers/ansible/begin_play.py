"""Becomes ``ansible-playbook``, so that it ends with the paictl that began it. Started by ``playbook``; knows nothing of paictl.

``argv``: where to write the process's number, the pid that must be the parent, then the program's path and its arguments.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def _main() -> None:
    told, parent, *argv = sys.argv[1:]
    # Its workers have sessions of their own: Ansible ends them when it is asked to end, and not when it is killed.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("whoever began this is gone")
    Path(told).write_text(str(os.getpid()), encoding="ascii")
    os.execv(argv[0], argv)  # noqa: S606 - no shell is meant


if __name__ == "__main__":
    _main()
