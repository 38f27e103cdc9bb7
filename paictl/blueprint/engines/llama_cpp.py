"""llama.cpp's own server from its published image: any GGUF file, on processors or an NVIDIA card.

Sources: ``.devops/cpu.Dockerfile`` and ``.devops/cuda.Dockerfile`` (the entrypoint is the server, curl is in the image, its
own health check asks ``/health``), ``docs/docker.md`` (the tags ``server`` and ``server-cuda``), ``tools/server/README.md``
(options and their environment variables) of ggml-org/llama.cpp. It writes nothing, so it runs as anybody on a read-only root.
"""

from __future__ import annotations

from paictl.blueprint.engines.served import LONGEST_ANSWER, PORT, Served, ask_with_curl
from paictl.blueprint.types import Limits, Service, Upstream

__all__ = ["serve"]

_IMAGE = "llama.cpp"
# More layers than any model has: all of them go to the card.
_ALL_LAYERS = "999"
# The settings of our own server (``paictl.runtime.engines.llamacpp`` has the reasons). Younger options are given as
# variables, since a server that does not know one passes over it, where it would refuse to start over an unknown flag.
_SAMPLING = ("--dry-multiplier", "0.8", "--dry-allowed-length", "3", "--dry-penalty-last-n", "64")
_ENVIRONMENT = {
    "LLAMA_ARG_CACHE_RAM": "0",
    "LLAMA_ARG_ENDPOINT_SLOTS": "0",
    "LLAMA_ARG_FIT": "off",
    "LLAMA_ARG_NO_WEBUI": "1",
    "LLAMA_ARG_WEBUI": "0",
    # Without a home to write to, a card's kernels would be compiled at every start all the same.
    "CUDA_CACHE_DISABLE": "1",
}


def serve(model: Served) -> Service:
    """The service of a GGUF file."""
    command = [
        *("-m", model.path, "--alias", model.name, "--host", "0.0.0.0", "--port", str(PORT)),  # noqa: S104 - in a container
        *("--ctx-size", str(model.context), "--threads", str(model.threads), "--parallel", "1"),
        *("-n", str(LONGEST_ANSWER), "--jinja", *_SAMPLING),
        *(("--n-gpu-layers", _ALL_LAYERS) if model.gpus else ()),
    ]
    upstream = Upstream(
        image=_IMAGE,
        reference=model.reference,
        command=tuple(command),
        environment=_ENVIRONMENT,
        scratch=("/tmp",),  # noqa: S108 - the container's own
        healthy=ask_with_curl("/health"),
    )
    return model.by(upstream, Limits(memory=model.memory))
