"""From the manifest's models to the lock's: exact files, what they are, what they need; refuses what can't fit.

Called by ``lock`` and by whatever plans without a lock. Asks sources through ``weights``; what the last lock answered for the
same wish is taken from it, so that nothing changes under a person who changed nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from paictl.errors import UsageError
from paictl.events import Emit, ignore
from paictl.fit import memory
from paictl.fit.catalogue import shipped
from paictl.fit.choose import NoFit, Wish, choose, fits
from paictl.fit.folders import SERVED_BY, files_of, is_folder
from paictl.fit.hardware import Hardware
from paictl.manifest.lock import Embedding, LockedFile, LockedModel
from paictl.manifest.models import Model, Select, Tokenizer
from paictl.manifest.quantities import parse_count
from paictl.sizes import byte_count
from paictl.weights.cache import Cache
from paictl.weights.failures import BadFile
from paictl.weights.fetch import fetch
from paictl.weights.header import gguf_header
from paictl.weights.onnx import output_shapes
from paictl.weights.resolve import Resolved, resolve
from paictl.weights.sources import Source, parse

__all__ = ["Supply", "lock_models"]

_USUAL_CONTEXT = 8192
_FORMATS = {".gguf": "gguf", ".onnx": "onnx", ".bin": "ggml"}
_ENGINES = {
    ("chat", "gguf"): "llama.cpp",
    ("embed", "gguf"): "llama.cpp",
    ("embed", "onnx"): "onnx",
    ("transcribe", "ggml"): "whisper.cpp",
}


@dataclass(frozen=True, slots=True)
class Supply:
    """How model files may be reached while locking.

    ``base`` is the manifest's folder. With ``download`` off, files are never fetched to learn a hash or a dimension: these are then
    empty and 0, to be known after the download. ``previous`` is the last lock's models.
    """

    base: Path | None = None
    cache: Cache = field(default_factory=Cache)
    emit: Emit = ignore
    offline: bool = False
    download: bool = True
    previous: Mapping[str, LockedModel] = field(default_factory=dict)


def lock_models(
    models: Mapping[str, Model], hardware: Hardware | None, supply: Supply | None = None
) -> dict[str, LockedModel]:
    """Lock every model that paictl runs itself; the ones behind an API or another server need no lock and are left out.

    Without ``hardware`` nobody knows what fits: exact models are locked unasked, and nothing can be chosen.
    Raises ``NoFit`` when they need more memory than the machine has, naming what would fit, and what ``resolve`` and ``fetch`` raise.
    """
    supply = supply or Supply()
    local = {name: model for name, model in models.items() if model.is_local}
    locked: dict[str, LockedModel] = {}
    wishes: dict[str, Wish] = {}
    for name, model in local.items():
        known = supply.previous.get(name)
        if known is not None and known.intent == _intent(model):
            locked[name] = _relocated(known, model, supply)
        elif model.source is not None:
            locked[name] = _lock(name, model, supply)
        else:
            wishes[name] = Wish(model.task, model.select or Select())
    if wishes:
        if hardware is None:
            raise UsageError(
                f"models.{next(iter(wishes))}: nobody has said what the host has, so no model can be chosen for it",
                help="Say it, as `machine: {memory: 8GiB, cores: 4}` of the target or the host; or name a `profile:`, or a `source:`.",
            )
        choice = choose(wishes, hardware, shipped(), sum(lock.memory for lock in locked.values()))
        for name, entry in choice.entries.items():
            tokenizer = Tokenizer(source=entry.tokenizer) if entry.tokenizer else None
            chosen = local[name].model_copy(update={"source": entry.source, "tokenizer": tokenizer, "sha256": None})
            locked[name] = replace(_lock(name, chosen, supply), intent=_intent(local[name]))
    if hardware is not None:
        _refuse_what_cannot_fit(local, locked, hardware)
    return {name: locked[name] for name in local}


def _intent(model: Model) -> str:
    """What was asked for, as text that changes when the wish does, and not when a later paictl knows more fields."""
    asked = {"task", "engine", "select", "source", "sha256", "tokenizer", "context"}
    wish = model.model_dump(mode="json", include=asked, exclude_defaults=True)
    return json.dumps(wish, sort_keys=True, separators=(",", ":"))


def _relocated(known: LockedModel, model: Model, supply: Supply) -> LockedModel:
    """A lock of an earlier run, its ``file://`` sources where the manifest is now."""

    def here(file: LockedFile, wanted: str | None) -> LockedFile:
        if wanted is None or not wanted.startswith("file://"):
            return file
        return replace(file, source=Path(parse(wanted, supply.base).path).as_uri())

    if known.parts and model.source is not None:
        folder = Path(parse(model.source, supply.base).path)
        parts = {name: replace(part, source=(folder / name).as_uri()) for name, part in known.parts.items()}
        weights = replace(known.weights, source=(folder / known.weights.file).as_uri())
        return replace(known, weights=weights, parts=parts)
    tokenizer = (
        here(known.tokenizer, model.tokenizer.source) if known.tokenizer and model.tokenizer else known.tokenizer
    )
    return replace(known, weights=here(known.weights, model.source), tokenizer=tokenizer)


def _lock(name: str, model: Model, supply: Supply) -> LockedModel:
    source = parse(model.source or "", supply.base)
    if is_folder(source):
        return _lock_folder(f"models.{name}", model, source, supply)
    if model.engine in SERVED_BY:
        raise UsageError(
            f"models.{name}: {source} is no folder, and engine {model.engine} serves nothing else",
            help="bring the model's folder to this machine, and name it: source: file:///…/MODEL",
        )
    format_ = _FORMATS.get(Path(source.file).suffix.lower(), "")
    engine = _ENGINES.get((model.task, format_), "") if model.engine == "auto" else model.engine
    if not engine:
        raise UsageError(
            f"models.{name}: {source.file} is no file that a model for {model.task} can be run from",
            help="chat wants a .gguf file, embed an .onnx or .gguf one, transcribe a ggml .bin; or name the `engine:`",
        )
    if format_ == "onnx" and model.tokenizer is None:
        raise UsageError(
            f"models.{name}: an .onnx model needs its tokenizer", help="add `tokenizer: {source: …/tokenizer.json}`"
        )
    resolved, weights = _file(source, model.sha256, supply, f"models.{name}")
    tokenizer = None
    if model.tokenizer is not None:
        tokenizer = _file(
            parse(model.tokenizer.source, supply.base), model.tokenizer.sha256, supply, f"models.{name}.tokenizer"
        )[1]
    base = LockedModel(
        weights, format_, engine, _wanted(model) or _USUAL_CONTEXT, tokenizer=tokenizer, intent=_intent(model)
    )
    if format_ == "gguf":
        return _described(name, model, base, resolved, supply)
    if format_ == "onnx":
        needs = memory.of_onnx(weights.size)
        return replace(
            base, memory=needs.total, context=0, embedding=_embedding(base, _dimension(name, resolved, supply))
        )
    return replace(base, memory=memory.of_speech(weights.size).total, context=0)


def _lock_folder(address: str, model: Model, source: Source, supply: Supply) -> LockedModel:
    """Every file of it, exactly, as if each were a source of its own."""
    if model.engine not in SERVED_BY:
        raise UsageError(
            f"{address}: {source} is a folder, and engine {model.engine} takes a file",
            help=f"name the model's file, or the engine that serves the folder: {' or '.join(SERVED_BY)}",
        )
    if model.sha256 is not None:
        raise UsageError(f"{address}: a folder has no sha256", help="leave it out: each file's hash goes into the lock")
    weights, *parts = [_file(parse(path.as_uri()), None, supply, address)[1] for path in files_of(source, address)]
    return LockedModel(
        weights,
        "folder",
        model.engine,
        _wanted(model) or _USUAL_CONTEXT,
        memory=memory.of_folder().total,
        parts={part.file: part for part in sorted(parts, key=lambda part: part.file)},
        intent=_intent(model),
    )


def _file(source: Source, sha256: str | None, supply: Supply, address: str) -> tuple[Resolved, LockedFile]:
    """One file, exactly. Its hash is learnt by fetching it where nobody tells it before."""
    resolved = _already_here(source, sha256, supply) or resolve(
        source, sha256, cache=supply.cache, offline=supply.offline
    )
    found = resolved.sha256
    if found is None and (supply.download or source.scheme == "file"):
        found = fetch(resolved, supply.cache, emit=supply.emit, offline=supply.offline, address=address).name
        resolved = replace(resolved, sha256=found)
    # A package's version names its file for good, and which mirror it came from is nobody's business: no url. A file of this
    # machine is named in full, so that whoever reads the lock need not know where the manifest lies.
    url = "" if source.scheme in {"pypi", "file"} else resolved.url
    text = Path(source.path).as_uri() if source.scheme == "file" else resolved.source.text
    return resolved, LockedFile(source=text, sha256=found or "", size=resolved.size, file=source.file, url=url)


def _already_here(source: Source, sha256: str | None, supply: Supply) -> Resolved | None:
    """What the cache holds under the demanded hash; only a hub's file is asked for all the same, to pin its commit."""
    if sha256 is None or (source.scheme == "hf" and not supply.offline) or not supply.cache.has(sha256):
        return None
    path = supply.cache.path(sha256)
    return Resolved(source, source.text if source.scheme in {"http", "https"} else "", path.stat().st_size, sha256)


def _described(name: str, model: Model, base: LockedModel, resolved: Resolved, supply: Supply) -> LockedModel:
    """What a GGUF file says of itself, and what it needs with the wanted context."""
    header = gguf_header(resolved, supply.cache)
    wanted = _wanted(model)
    if header.context and (wanted or 0) > header.context:
        raise NoFit(
            f"models.{name}: a context of {wanted} tokens is asked for, but {base.weights.file} has {header.context}",
            help=f"ask for {header.context} or less, or choose a model with a longer context",
        )
    context = wanted or min(header.context or _USUAL_CONTEXT, _USUAL_CONTEXT)
    described = replace(
        base,
        context=context,
        parameters=header.parameters,
        quantization=header.quantization,
        memory=memory.need(header, context).total,
    )
    return replace(described, embedding=_embedding(described, header.embedding)) if model.task == "embed" else described


def _wanted(model: Model) -> int | None:
    text = model.context or (model.select.context if model.select else None)
    return parse_count(text) if text else None


def _dimension(name: str, resolved: Resolved, supply: Supply) -> int:
    """The length of an ONNX model's vectors. Its shapes stand behind the weights, so the whole file must be here."""
    if not supply.download and (resolved.sha256 is None or not supply.cache.has(resolved.sha256)):
        return 0
    path = fetch(resolved, supply.cache, emit=supply.emit, offline=supply.offline, address=f"models.{name}")
    for shape in output_shapes(path).values():
        if shape and shape[-1]:
            return shape[-1]
    raise BadFile(
        f"models.{name}: {resolved.file} does not say how long its vectors are",
        help="use a model whose output has a fixed last dimension",
    )


def _embedding(lock: LockedModel, dimension: int) -> Embedding:
    """The identity of the vectors: the files, and how the embedding server makes a vector of their output."""
    parts = {
        "weights": lock.weights.sha256,
        "tokenizer": lock.tokenizer.sha256 if lock.tokenizer else "",
        "pooling": "mean",
        "normalize": True,
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return Embedding(dimension=dimension, normalize=True, fingerprint=digest)


def _refuse_what_cannot_fit(local: Mapping[str, Model], locked: Mapping[str, LockedModel], hardware: Hardware) -> None:
    fit = fits(sum(lock.memory for lock in locked.values()), hardware)
    if fit.ok:
        return
    parts = ", ".join(f"{name} {byte_count(lock.memory)}" for name, lock in locked.items())
    largest = max(locked, key=lambda name: locked[name].memory)
    others = sum(lock.memory for name, lock in locked.items() if name != largest)
    context = locked[largest].context if locked[largest].format == "gguf" else _USUAL_CONTEXT
    try:
        choice = choose(
            {largest: Wish(local[largest].task, Select(context=str(max(context, 1))))}, hardware, shipped(), others
        )
        entry = choice.entries[largest]
        would = (
            f"for {largest}, {entry.name} would fit ({byte_count(entry.need(context).total)}): source: {entry.source}"
        )
    except NoFit:
        would = "no model of the catalogue would fit either: ask for less context, or name an API provider or a server elsewhere"
    raise NoFit(
        f"the models need {byte_count(fit.needed)} ({parts}), but {hardware.name} has {byte_count(fit.budget)} for them",
        help=would,
    )
