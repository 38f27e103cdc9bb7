"""``python -m paictl.runtime.engines.onnx_embed --root DIR --config PATH``: sentence embeddings by ONNX, OpenAI's way.

``POST /v1/embeddings`` and ``GET /health``, and nothing else. Mean pooling over the tokens that are not padding, unit
length: what sentence-transformers computes for the MiniLM and E5 families.
"""

from __future__ import annotations

import base64
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from paictl.runtime.config import EmbedServerConfig
from paictl.runtime.engines.launch import fail, free_socket, launch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Embedder", "application", "main"]

_PROGRAM = "onnx_embed"
# Sentences run through the model at once: more gains nothing on a few cores, and padding costs.
_BATCH = 32
_MOST_INPUTS = 2048


class _Request(BaseModel):
    """What of OpenAI's request is understood. Token lists are not: every tokenizer numbers its own."""

    model_config = ConfigDict(extra="ignore")

    input: str | Annotated[list[str], Field(min_length=1, max_length=_MOST_INPUTS)]
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"


class Embedder:
    """The model in memory. Raises ``ValueError`` or the libraries' own errors when a file is not what it should be."""

    def __init__(self, config: EmbedServerConfig) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(config.tokenizer)
        self._tokenizer.enable_truncation(config.max_tokens)
        self._tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = config.threads
        options.inter_op_num_threads = 1
        # Spinning threads would burn a small machine's cores between two questions; the arena would keep the largest
        # batch's memory for good.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False
        self._session = onnxruntime.InferenceSession(config.model, options, providers=["CPUExecutionProvider"])
        self._inputs = {one.name for one in self._session.get_inputs()}
        # One question at a time uses all the threads that are allowed.
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], int]:
        """The vectors, one row a text in the given order, and how many tokens were read."""
        import numpy as np

        encodings = self._tokenizer.encode_batch(list(texts))
        # Sentences of like length share a batch, so that little of it is padding.
        lengths = [sum(encoding.attention_mask) for encoding in encodings]
        order = sorted(range(len(texts)), key=lengths.__getitem__)
        rows: dict[int, NDArray[np.float32]] = {}
        with self._lock:
            for start in range(0, len(order), _BATCH):
                batch = order[start : start + _BATCH]
                width = max(1, *(lengths[index] for index in batch))
                rows.update(zip(batch, self._run([encodings[index] for index in batch], width), strict=True))
        return np.stack([rows[index] for index in range(len(texts))]), sum(lengths)

    def _run(self, encodings: Sequence[Any], width: int) -> NDArray[np.float32]:
        import numpy as np

        mask = np.array([encoding.attention_mask[:width] for encoding in encodings], dtype=np.int64)
        feed = {
            "input_ids": np.array([encoding.ids[:width] for encoding in encodings], dtype=np.int64),
            "attention_mask": mask,
            "token_type_ids": np.array([encoding.type_ids[:width] for encoding in encodings], dtype=np.int64),
        }
        hidden = self._session.run(None, {name: feed[name] for name in self._inputs})[0]
        weights = mask[:, :, None].astype(np.float32)
        mean = (hidden * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9)
        unit: NDArray[np.float32] = (mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)).astype(
            np.float32
        )
        return unit


def application(embedder: Embedder, alias: str) -> Starlette:
    """The HTTP of it."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": alias, "object": "model", "owned_by": "paictl"}]})

    async def embeddings(request: Request) -> Response:
        try:
            wanted = _Request.model_validate_json(await request.body())
        except ValidationError as problem:
            first = problem.errors()[0]
            message = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
            return JSONResponse(
                {"error": {"message": message, "type": "invalid_request_error", "code": "invalid"}}, 400
            )
        texts = [wanted.input] if isinstance(wanted.input, str) else wanted.input
        vectors, tokens = await run_in_threadpool(embedder.embed, texts)
        return JSONResponse(
            {
                "object": "list",
                "model": alias,
                "data": [
                    {"object": "embedding", "index": index, "embedding": _written(vector, wanted.encoding_format)}
                    for index, vector in enumerate(vectors)
                ],
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            }
        )

    routes = [
        Route("/health", health),
        Route("/v1/models", models),
        Route("/v1/embeddings", embeddings, methods=["POST"]),
    ]
    return Starlette(routes=routes)


def _written(vector: NDArray[np.float32], encoding: str) -> Any:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode() if encoding == "base64" else vector.tolist()


def main() -> None:
    """Serve until told to end."""
    import uvicorn

    config = launch(_PROGRAM, EmbedServerConfig)
    for path in (config.model, config.tokenizer):
        if not Path(path).is_file():
            fail(_PROGRAM, f"the model file {path} is missing")
    try:
        embedder = Embedder(config)
        # A first run proves that the files belong together, before anybody is told that it is ready.
        embedder.embed(["ready"])
    except Exception as problem:  # noqa: BLE001 - the libraries raise types of their own for a file that is broken
        fail(_PROGRAM, f"{config.model} with {config.tokenizer} can't be used: {problem}")
    # uvicorn ends in order and then raises the signal again, for whoever was there before it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: sys.exit(0))
    kind, _, where = config.listen.partition(":")
    binding: dict[str, Any] = {"uds": where}
    if kind == "unix":
        os.umask(0o077)
        free_socket(_PROGRAM, where)
    else:
        host, _, port = where.rpartition(":")
        binding = {"host": host.strip("[]"), "port": int(port)}
    sys.stderr.write(f"onnx_embed: serves {config.model} as {config.alias} at {config.listen}\n")
    uvicorn.run(
        application(embedder, config.alias),
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=5,
        **binding,
    )


if __name__ == "__main__":
    main()
