"""Ollama from its published image, serving a GGUF file that paictl brought: it never fetches anything itself.

``ollama://`` sources stay refused: Ollama's own pull needs a way out of the room of a model server and a registry at the
time of the start, and the lock could not say which bytes came. So the file comes by ``source:`` like every other, checked
by its hash, and ``ollama create`` takes it into Ollama's store at the start: offline, the same bytes everywhere. The store
is a copy that can be made again, so its volume holds no data; creating anew what is there already only reads the file.

Sources: ``Dockerfile`` (``/bin/ollama`` on Ubuntu: a shell, no curl), ``docs/modelfile.md``, ``docs/faq.md`` (the variables),
``docs/openai.md`` of ollama/ollama. As anybody else than root it needs a home of its own for its key and its store.
"""

from __future__ import annotations

from paictl.blueprint.engines.served import LONGEST_ANSWER, PORT, ROOT, Served
from paictl.blueprint.types import ConfigFile, Limits, Service, Upstream

__all__ = ["serve"]

_IMAGE = "ollama"
_MIB = 1 << 20
# The server beside the runner that holds the model: an estimate, Go programs of this kind take about half of it.
_SERVER_MEMORY = 256 * _MIB
# `ollama serve` has no way to be told of a model; it is asked to take it in once it listens. $0 is the Modelfile, $1 the name.
# The shell waits for the server, and passes the order to end on to it.
_START = """\
/bin/ollama serve & server=$!
trap 'kill -TERM "$server"' TERM INT
until /bin/ollama list >/dev/null 2>&1; do kill -0 "$server" || exit 1; sleep 1; done
/bin/ollama create "$1" -f "$0" || { kill -TERM "$server"; exit 1; }
while kill -0 "$server" 2>/dev/null; do wait "$server"; code=$?; done
exit "${code:-1}"
"""


def serve(model: Served) -> Service:
    """The service of a GGUF file."""
    config = ConfigFile(f"config/{model.service}/Modelfile", _modelfile(model))
    upstream = Upstream(
        image=_IMAGE,
        reference=model.reference,
        command=("-c", _START, f"{ROOT}/{config.path}", model.name),
        entrypoint=("/bin/sh",),
        environment={
            "HOME": model.data,
            "OLLAMA_HOST": f"0.0.0.0:{PORT}",
            "OLLAMA_MODELS": f"{model.data}/models",
            # The model stays loaded: a personal agent is asked at any time, and nothing else wants the memory.
            "OLLAMA_KEEP_ALIVE": "-1",
            "OLLAMA_NUM_PARALLEL": "1",
            "OLLAMA_MAX_LOADED_MODELS": "1",
            "OLLAMA_NOHISTORY": "1",
            # Newer ones offer models that run at Ollama's; nothing of this agent's goes there.
            "OLLAMA_NO_CLOUD": "1",
        },
        scratch=("/tmp",),  # noqa: S108 - the container's own
        # Asks the server, and fails while the model is not in its store.
        healthy=("/bin/sh", "-c", f"OLLAMA_HOST=127.0.0.1:{PORT} /bin/ollama show {model.name} >/dev/null"),
    )
    limits = Limits(memory=model.memory + _SERVER_MEMORY if model.memory else 0)
    return model.by(upstream, limits, health="/", config=config, volumes=(model.volume,))


def _modelfile(model: Served) -> str:
    return (
        f"FROM {model.path}\n"
        f"PARAMETER num_ctx {model.context}\n"
        f"PARAMETER num_predict {LONGEST_ANSWER}\n"
        f"PARAMETER num_thread {model.threads}\n" + ("" if model.gpus else "PARAMETER num_gpu 0\n")
    )
