"""vLLM from its published image: a folder as the hub has it (safetensors, config, tokenizer) on NVIDIA cards.

Sources: ``docker/Dockerfile`` (Python and the ``vllm`` program; root unless told otherwise), docs.vllm.ai: ``vllm serve``,
"Environment variables", "Using Docker" of vllm-project/vllm. As anybody else than root it needs a user name that is not in
the image's list, and a place for compiled kernels that may be executed: a volume, since scratch may not.
"""

from __future__ import annotations

import json

from paictl.blueprint.engines.served import LONGEST_ANSWER, PORT, Served, ask_with_python
from paictl.blueprint.types import Limits, Service, Upstream

__all__ = ["serve"]

_IMAGE = "vllm"
_PIDS = 1024


def serve(model: Served) -> Service:
    """The service of a model folder."""
    command = [
        *("serve", model.path, "--served-model-name", model.name),
        *("--host", "0.0.0.0", "--port", str(PORT)),  # noqa: S104 - in a container
        *("--max-model-len", str(model.context)),
        *("--override-generation-config", json.dumps({"max_new_tokens": LONGEST_ANSWER})),
    ]
    upstream = Upstream(
        image=_IMAGE,
        reference=model.reference,
        command=tuple(command),
        entrypoint=("vllm",),
        environment={
            "HOME": model.data,
            # PyTorch asks for the user's name, and the number has none in the image.
            "USER": "paictl",
            "LOGNAME": "paictl",
            "XDG_CACHE_HOME": f"{model.data}/cache",
            "XDG_CONFIG_HOME": f"{model.data}/config",
            "TRITON_CACHE_DIR": f"{model.data}/triton",
            "TORCHINDUCTOR_CACHE_DIR": f"{model.data}/inductor",
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
        },
        scratch=("/tmp",),  # noqa: S108 - the container's own
        healthy=ask_with_python("/health"),
    )
    limits = Limits(memory=model.memory, pids=_PIDS)
    return model.by(upstream, limits, volumes=(model.volume,))
