"""MLC-LLM: a folder of converted weights, compiled for the cards it runs on.

Its makers publish wheels, not an image: a person builds one that has ``mlc_llm`` (``pip install`` as in
https://llm.mlc.ai/docs/install/mlc_llm.html) and names it in ``spec.images``. A library compiled before lies in the folder as
``lib.so``; without one it is compiled at the first start, which the image must have the tools for.

Sources: https://llm.mlc.ai/docs/deploy/rest.html (``mlc_llm serve``, ``/v1/models``), ``python/mlc_llm/support/constants.py``
(``MLC_LLM_HOME``) of mlc-ai/mlc-llm.
"""

from __future__ import annotations

from paictl.blueprint.engines.served import PORT, Served, ask_with_python
from paictl.blueprint.types import Limits, Service, Upstream

__all__ = ["LIBRARY", "serve"]

LIBRARY = "lib.so"
"""The compiled library's name in the model's folder."""

_IMAGE = "mlc-llm"
_PIDS = 1024


def serve(model: Served, *, compiled: bool) -> Service:
    """The service of a model folder; ``compiled``: the library lies in it."""
    command = [
        *("serve", model.path, "--device", "cuda", "--mode", "interactive"),
        *("--host", "0.0.0.0", "--port", str(PORT)),  # noqa: S104 - in a container
        *("--overrides", f"context_window_size={model.context}"),
        *(("--model-lib", f"{model.path}/{LIBRARY}") if compiled else ()),
    ]
    upstream = Upstream(
        image=_IMAGE,
        reference=model.reference,
        command=tuple(command),
        entrypoint=("mlc_llm",),
        environment={"HOME": model.data, "MLC_LLM_HOME": f"{model.data}/mlc_llm", "USER": "paictl"},
        scratch=("/tmp",),  # noqa: S108 - the container's own
        healthy=ask_with_python("/v1/models"),
    )
    limits = Limits(memory=model.memory, pids=_PIDS)
    return model.by(upstream, limits, health="/v1/models", volumes=(model.volume,))
