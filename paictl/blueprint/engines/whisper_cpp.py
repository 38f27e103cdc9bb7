"""whisper.cpp's own server from its published image: speech to text with a ggml file.

The agent has no way to hear yet, so ``unavailable`` refuses to apply it; ``paictl render`` shows it.

Sources: ``.devops/main.Dockerfile`` (programs on the path, curl and ffmpeg in the image, ``bash -c`` as entrypoint),
``examples/server/README.md`` (options, ``/inference``, ``/health``) of ggml-org/whisper.cpp. With ``--convert`` it writes the
sound it was sent into ``--tmp-dir`` and removes it again.
"""

from __future__ import annotations

from paictl.blueprint.engines.served import PORT, Served, ask_with_curl
from paictl.blueprint.types import Limits, Service, Upstream

__all__ = ["serve"]

_IMAGE = "whisper"
_SCRATCH = "/tmp"  # noqa: S108 - the container's own


def serve(model: Served) -> Service:
    """The service of a ggml file."""
    command = [
        *("--model", model.path, "--host", "0.0.0.0", "--port", str(PORT)),  # noqa: S104 - in a container
        *("--threads", str(model.threads), "--convert", "--tmp-dir", _SCRATCH),
        *("--inference-path", "/v1/audio/transcriptions"),
        *(() if model.gpus else ("--no-gpu",)),
    ]
    upstream = Upstream(
        image=_IMAGE,
        reference=model.reference,
        command=tuple(command),
        entrypoint=("whisper-server",),
        scratch=(_SCRATCH,),
        healthy=ask_with_curl("/health"),
    )
    return model.by(upstream, Limits(memory=model.memory))
