"""``python -m paictl``: the same as the command ``paictl``."""

from __future__ import annotations

import sys

from paictl.cli.main import entry

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(entry())
