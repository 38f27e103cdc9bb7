"""``python -m paictl.runtime.engines.llamacpp --root DIR --config PATH``: llama.cpp's own server, in this process.

It owns the settings that make small models behave on small machines, and how the server is started and stopped. The HTTP
it speaks is llama.cpp's: ``/v1/chat/completions``, ``/v1/models``, ``/health``.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paictl.runtime.config import LlamaServerConfig
from paictl.runtime.engines.launch import fail, free_socket, launch

__all__ = ["main", "parameters"]

_PROGRAM = "llamacpp"
_GGUF_MAGIC = b"GGUF"
_BIND_ATTEMPTS = 5
# So long answers that have begun may go on; whoever stops the server waits a little longer before it kills.
_LAST_ANSWERS_SECONDS = 25.0
_LOOK_SECONDS = 0.1
# For what llama.cpp's own thread has yet to write when its start has failed.
_LAST_WORDS_SECONDS = 2.0
_BUSY_PORT = "couldn't bind"
_BUSY = re.compile(r"^llamacpp:requests_(?:processing|deferred) [1-9]", re.MULTILINE)


def parameters(config: LlamaServerConfig) -> Any:
    """What llama.cpp's server is started with."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = config.model
    params.model_alias = config.alias
    # The context is shared out among the slots; each is to have what was asked for.
    params.n_ctx = config.context * config.parallel
    params.n_parallel = config.parallel
    params.n_predict = config.max_tokens
    params.cpuparams.n_threads = config.threads
    params.cpuparams_batch.n_threads = config.threads
    params.n_threads_http = config.parallel + 2
    params.use_jinja = True
    # Greedy small models fall into loops, most of all inside a JSON schema; measured, DRY sampling cures it.
    params.sampling.dry_multiplier = 0.8
    params.sampling.dry_allowed_length = 3
    # Over the whole prompt it would also penalise repeating a recalled fact; a loop shows within this many tokens.
    params.sampling.dry_penalty_last_n = 64
    # No page, no list of slots with people's prompts in it, no gigabytes of prompt cache.
    params.webui = False
    params.endpoint_slots = False
    # Counts alone; they tell whether an answer is being written.
    params.endpoint_metrics = True
    params.cache_ram_mib = 0
    # What fits was computed before; llama.cpp must not quietly shrink the context instead.
    params.fit_params = False
    params.verbosity = 1
    kind, where = _address(config)
    if kind == "unix":
        # llama.cpp takes a host name that ends in .sock for a socket's path.
        params.hostname, params.port = where, 0
    else:
        host, _, port = where.rpartition(":")
        params.hostname, params.port = host.strip("[]"), int(port)
    return params


def _address(config: LlamaServerConfig) -> tuple[str, str]:
    kind, _, where = config.listen.partition(":")
    return kind, where


def _check(config: LlamaServerConfig) -> None:
    """The mistakes that are cheaper to name before llama.cpp meets them."""
    model = Path(config.model)
    if not model.is_file():
        fail(_PROGRAM, f"the model file {model} is missing")
    with model.open("rb") as file:
        magic = file.read(len(_GGUF_MAGIC))
    if magic != _GGUF_MAGIC:
        fail(_PROGRAM, f"{model} is no GGUF file")
    kind, where = _address(config)
    if kind not in ("unix", "tcp") or (kind == "unix" and not where.endswith(".sock")):
        fail(_PROGRAM, f"it can't listen on {config.listen}: unix:PATH.sock or tcp:HOST:PORT is needed")


def _start(config: LlamaServerConfig) -> Any:
    import xllamacpp

    kind, where = _address(config)
    if kind == "unix":
        free_socket(_PROGRAM, where)
    with _held_until_it_serves() as said:
        for attempt in range(_BIND_ATTEMPTS):
            try:
                return xllamacpp.Server(parameters(config))
            except RuntimeError:
                reason = _reason(said)
            if _BUSY_PORT not in reason or kind == "unix" or attempt == _BIND_ATTEMPTS - 1:
                fail(_PROGRAM, f"llama.cpp can't serve {config.model} on {config.listen}: {reason}")
            # A port in TIME_WAIT is free again in a moment.
            time.sleep(0.5)
            os.ftruncate(said, 0)
            os.lseek(said, 0, os.SEEK_SET)
    return None


def _reason(said: int) -> str:
    """The most telling line of what llama.cpp wrote before it gave up, for which a thread of its own takes its time."""
    deadline = time.monotonic() + _LAST_WORDS_SECONDS
    while True:
        # By position: reading on would move the place where llama.cpp writes.
        text = os.pread(said, os.fstat(said).st_size, 0).decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        telling = [line for line in lines if "error loading model" in line or _BUSY_PORT in line]
        if telling or time.monotonic() > deadline:
            return [*telling, *lines, "it gives no reason"][0]
        time.sleep(_LOOK_SECONDS / 10)


def _finish(server: Any) -> None:
    """Let the answers that have begun end; one look in between, since a last word may still be on its way."""
    deadline, quiet = time.monotonic() + _LAST_ANSWERS_SECONDS, 0
    while quiet < 2 and time.monotonic() < deadline:
        quiet = 0 if _BUSY.search(server.handle_metrics()) else quiet + 1
        time.sleep(_LOOK_SECONDS)


@contextmanager
def _held_until_it_serves() -> Iterator[int]:
    """Keep what llama.cpp writes to standard error, so that a failure is one line and not twelve.

    Its thread may write until the process has ended: after a failure nothing is let through but Python's own words.
    """
    kept = os.dup(2)
    sys.stderr = os.fdopen(kept, "w", buffering=1, errors="backslashreplace")
    said = os.memfd_create("stderr")
    os.dup2(said, 2)
    yield said
    os.dup2(kept, 2)
    os.close(said)


def main() -> None:
    """Serve until told to end."""
    config = launch(_PROGRAM, LlamaServerConfig)
    _check(config)
    server = _start(config)
    stop = threading.Event()
    # Only now: llama.cpp sets handlers of its own while it starts.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    sys.stderr.write(f"llamacpp: serves {config.model} as {config.alias} at {server.listening_address}\n")
    sys.stderr.flush()
    stop.wait()
    _finish(server)
    kind, where = _address(config)
    if kind == "unix":
        Path(where).unlink(missing_ok=True)
    # Nothing here is to be saved, and llama.cpp's own ending waits for answers that may take minutes more.
    os._exit(0)


if __name__ == "__main__":
    main()
