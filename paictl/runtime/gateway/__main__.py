"""``python -m paictl.runtime.gateway --root DIR --config PATH``: the gateway's start, run by a supervisor."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from pydantic import ValidationError

from paictl.runtime.config import GatewayConfig, load
from paictl.runtime.gateway.answers import ApiError
from paictl.runtime.gateway.server import serve

__all__ = ["main"]


def main() -> int:
    """0 after a signal, 1 when it can't begin; the reason is one line on standard error."""
    parser = argparse.ArgumentParser(prog="paictl.runtime.gateway", description="paictl's gateway")
    parser.add_argument("--root", type=Path, required=True, help="the directory it works in")
    parser.add_argument("--config", type=Path, required=True, help="its configuration, relative to the root")
    arguments = parser.parse_args()
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    for noisy in ("uvicorn", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        os.chdir(arguments.root)
        asyncio.run(serve(load(GatewayConfig, arguments.config)))
    except (ValueError, OSError, ValidationError, ApiError) as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
