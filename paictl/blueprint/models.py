"""The models' part of the blueprint: their weight files, a server for each local one, and how the gateway reaches all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from paictl.blueprint.engines import llama_cpp, mlc_llm, ollama, vllm, whisper_cpp
from paictl.blueprint.engines.served import ROOT, Served
from paictl.blueprint.images import pinned_reference
from paictl.blueprint.types import ConfigFile, Endpoint, HealthCheck, Limits, Service, Weights
from paictl.errors import Unavailable
from paictl.hosts import is_loopback
from paictl.manifest.load import Manifest
from paictl.manifest.lock import LockedFile, LockedModel
from paictl.manifest.models import Model
from paictl.manifest.quantities import parse_count

__all__ = ["routes", "servers", "weights"]

# The providers' own OpenAI-compatible base URLs, as their API references give them.
_PROVIDERS = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com/v1",
    "mistral": "https://api.mistral.ai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "groq": "https://api.groq.com/openai/v1",
    "google": "https://generativelanguage.googleapis.com/v1beta/openai",
}

# engine -> the name of the image that serves it where our own runtime does not
_IMAGES = {"ollama": "ollama", "vllm": "vllm", "mlc-llm": "mlc-llm", "whisper.cpp": "whisper"}
_PORT = 8080
# A chat model below this many parameters answers worse when it is offered tools than when it is not.
_TOOLS_FROM_PARAMETERS = 1_000_000_000
_EMBED_MAX_TOKENS = 256
# Longer than the runtime's servers go on with answers that have begun (``paictl.runtime.engines.llamacpp``).
_STOPPED_SECONDS = 30.0


def weights(manifest: Manifest, locked: Mapping[str, LockedModel]) -> tuple[Weights, ...]:
    """Every file that the local models need on the target."""
    found = []
    for name, model in _local(manifest):
        lock = locked[name]
        found.append(_file(name, name, lock.weights, manifest, origin_key="source"))
        found += [
            _file(_part(name, part), name, file, manifest, origin_key="source") for part, file in lock.parts.items()
        ]
        if model.task == "embed" and lock.tokenizer is not None:
            found.append(_file(f"{name}-tokenizer", name, lock.tokenizer, manifest, origin_key="tokenizer"))
    return tuple(found)


def servers(
    manifest: Manifest,
    locked: Mapping[str, LockedModel],
    threads: int,
    *,
    images: Mapping[str, str],
    containers: bool,
) -> tuple[Service, ...]:
    """One service for each local model: our runtime's own server, or one of others from its image.

    llama.cpp is ours, unless ``spec.images`` names an image of it or the model is to have a graphics card: what serves it
    in our runtime knows processors only.
    """
    found = []
    for name, model in _local(manifest):
        lock = locked[name]
        image = _IMAGES.get(lock.engine, "")
        if (
            containers
            and lock.engine == "llama.cpp"
            and ("llama.cpp" in manifest.agent.spec.images or model.gpu != "none")
        ):
            image = "llama.cpp"
        if image:
            served = _served(manifest, name, lock, threads, pinned_reference(manifest, images, image))
            found.append(_maker(lock)(served))
        else:
            found.append(_server(manifest, name, model, lock, threads))
    return tuple(found)


def routes(manifest: Manifest, locked: Mapping[str, LockedModel]) -> dict[str, dict[str, object]]:
    """What the gateway has to know of each model (``paictl.runtime.config.ModelRoute`` as JSON data)."""
    return {
        name: _local_route(name, model, locked[name]) if model.is_local else _remote_route(manifest, model)
        for name, model in manifest.agent.spec.models.items()
    }


def _local(manifest: Manifest) -> Iterator[tuple[str, Model]]:
    return ((name, model) for name, model in manifest.agent.spec.models.items() if model.is_local)


def _file(name: str, model: str, locked: LockedFile, manifest: Manifest, *, origin_key: str) -> Weights:
    return Weights(
        name=name,
        path=f"models/{model}/{locked.file}",
        source=locked.source,
        sha256=locked.sha256,
        size=locked.size,
        url=locked.url,
        origin=manifest.origins.find(("spec", "models", model, origin_key)),
    )


def _part(model: str, part: str) -> str:
    return f"{model}-{part}"


def _maker(lock: LockedModel) -> Callable[[Served], Service]:
    """What makes the service of it."""
    makers: Mapping[str, Callable[[Served], Service]] = {
        "llama.cpp": llama_cpp.serve,
        "ollama": ollama.serve,
        "vllm": vllm.serve,
        "mlc-llm": partial(mlc_llm.serve, compiled=mlc_llm.LIBRARY in {lock.weights.file, *lock.parts}),
        "whisper.cpp": whisper_cpp.serve,
    }
    return makers[lock.engine]


def _served(manifest: Manifest, name: str, lock: LockedModel, threads: int, reference: str) -> Served:
    model = manifest.agent.spec.models[name]
    file = PurePosixPath(ROOT, "models", name, lock.weights.file)
    return Served(
        name=name,
        weights=(name, *(_part(name, part) for part in lock.parts)),
        path=str(file.parent if lock.parts else file),
        context=_context(model, lock),
        threads=model.threads or threads,
        memory=lock.memory,
        gpus="" if model.gpu == "none" else model.gpu,
        reference=reference,
        origin=manifest.origins.find(("spec", "models", name)),
    )


def _server(manifest: Manifest, name: str, model: Model, locked: LockedModel, threads: int) -> Service:
    service = f"model-{name}"
    config: dict[str, object] = {
        "listen": f"endpoint://{service}/http",
        "model": f"models/{name}/{locked.weights.file}",
        "alias": name,
    }
    needed = [name]
    threads = model.threads or (1 if locked.engine == "onnx" else threads)
    if locked.engine == "onnx":
        module = "paictl.runtime.engines.onnx_embed"
        if locked.tokenizer is not None:
            config["tokenizer"] = f"models/{name}/{locked.tokenizer.file}"
            needed.append(f"{name}-tokenizer")
        config |= {"threads": threads, "max_tokens": _EMBED_MAX_TOKENS}
    elif locked.engine != "llama.cpp":
        raise Unavailable(
            f"nothing serves models.{name} with engine {locked.engine} yet",
            help="Name another engine, or leave it out.",
        )
    else:
        module = "paictl.runtime.engines.llamacpp"
        config |= {"context": _context(model, locked), "threads": threads}
    return Service(
        name=service,
        role="model",
        module=module,
        config=ConfigFile(path=f"config/{service}/{service}.json", content=config),
        endpoints=(Endpoint("http", _PORT),),
        weights=tuple(needed),
        health=HealthCheck(endpoint="http", path="/health", timeout_seconds=180.0),
        limits=Limits(memory=locked.memory, cpus=threads),
        stop_seconds=_STOPPED_SECONDS,
        origin=manifest.origins.find(("spec", "models", name)),
    )


def _context(model: Model, locked: LockedModel) -> int:
    return parse_count(model.context) if model.context else locked.context


def _local_route(name: str, model: Model, locked: LockedModel) -> dict[str, object]:
    route: dict[str, object] = {
        "task": model.task,
        "endpoint": f"endpoint://model-{name}/http",
        "model": name,
        "local": True,
        "context": _context(model, locked),
        "tools": _offers_tools(model, locked.parameters),
    }
    if locked.embedding is not None:
        route |= {"dimension": locked.embedding.dimension, "fingerprint": locked.embedding.fingerprint}
    return route


def _remote_route(manifest: Manifest, model: Model) -> dict[str, object]:
    base = model.url or _PROVIDERS[model.provider or "openai"]
    host = urlsplit(base).hostname or ""
    secret = manifest.agent.spec.secrets.get(model.secret or "")
    return {
        "task": model.task,
        "endpoint": base,
        "model": model.model or "",
        # A server that exists already on this very machine is no more outside than one of ours.
        "local": is_loopback(host),
        "classes": list(model.classes) or ["public"],
        "secret": model.secret,
        "hosts": list(secret.hosts) if secret and secret.hosts else [host],
        "context": parse_count(model.context) if model.context else 8192,
        "tools": model.tools != "off",
    }


def _offers_tools(model: Model, parameters: int) -> bool:
    return model.tools == "on" or (model.tools == "auto" and parameters >= _TOOLS_FROM_PARAMETERS)
