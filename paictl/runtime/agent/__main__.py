"""``python -m paictl.runtime.agent --root DIR --config PATH``: starts the agent inside its room."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from paictl.runtime.config import AgentConfig, load


class _OneLine(logging.Formatter):
    """A failure is one line, with its type and message; the supervisor's log is no place for tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        cause = record.exc_info[1] if record.exc_info else None
        record.exc_info = record.exc_text = None
        text = " ".join(super().format(record).split())
        return f"{text} ({type(cause).__name__}: {cause})" if cause else text


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("httpx2", "httpx", "openai", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


async def _run(config: AgentConfig, token: str) -> None:
    from paictl.runtime.agent.service import serve

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(config, token, stop)


def main() -> None:
    """Read the configuration and be the agent."""
    parser = argparse.ArgumentParser(
        prog="paictl.runtime.agent", description="The agent: works in --root, speaks to the gateway only."
    )
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args()
    _log_to_stderr()
    try:
        os.chdir(options.root)
        config = load(AgentConfig, options.config)
        os.umask(0o077)
        asyncio.run(_run(config, Path(config.token_file).read_text().strip()))
    except (OSError, ValueError) as problem:
        sys.exit(f"agent: {' '.join(str(problem).split())}")
    # DBOS's threads sleep for long; everything is on disk, and what was running is resumed by the next life.
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
