"""``paictl models``: the manifest's models, what they were resolved to, and whether their files are here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from paictl.cli.flags import Call, verb_command
from paictl.errors import UsageError
from paictl.sizes import byte_count

if TYPE_CHECKING:
    from paictl.cli.resolution import Resolution
    from paictl.cli.session import Session
    from paictl.manifest.lock import LockedFile, LockedModel

__all__ = ["verb"]


@verb_command("models", takes_file=False)
@click.argument("action", type=click.Choice(["list", "pull"]), default="list")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def verb(call: Call, action: str, names: tuple[str, ...]) -> None:
    """List the manifest's models, or pull the files of some or all of them into the cache."""
    from paictl.cli.session import open_session, watched

    session = open_session(call)
    known = session.manifest.agent.spec.models
    for name in names:
        if name not in known:
            raise UsageError(f"there is no model {name!r}", help=f"The manifest has {', '.join(known) or 'none'}.")
    with watched(call) as emit:
        resolution = session.resolve(emit, download=action == "pull")
        if action == "pull":
            from paictl.weights.fetch import obtain
            from paictl.weights.sources import parse

            for name, file in _files(session, resolution, names):
                source = parse(file.source, session.manifest.folder)
                obtain(source, file.sha256 or None, emit=emit, offline=call.flags.offline, address=f"models.{name}")
    rows = [_document(session, resolution, name) for name in names or known]
    call.terminal.result({"format": "1", "models": rows}, lambda: _lines(call, rows))


def _locked(session: Session, resolution: Resolution) -> dict[str, LockedModel]:
    return dict(resolution.after.targets[session.scope.target].models)


def _files(session: Session, resolution: Resolution, names: Sequence[str]) -> list[tuple[str, LockedFile]]:
    return [
        (name, file)
        for name, model in _locked(session, resolution).items()
        if not names or name in names
        for file in (model.weights, model.tokenizer)
        if file is not None
    ]


def _document(session: Session, resolution: Resolution, name: str) -> dict[str, object]:
    from paictl.weights.cache import Cache

    model = session.manifest.agent.spec.models[name]
    locked = _locked(session, resolution).get(name)
    if locked is None:
        where = model.provider or model.url or ""
        return {"name": name, "task": model.task, "local": False, "source": where, "model": model.model}
    cache = Cache()
    files = [file for _, file in _files(session, resolution, [name])]
    return {
        "name": name,
        "task": model.task,
        "local": True,
        "source": locked.weights.source,
        "engine": locked.engine,
        "quantization": locked.quantization,
        "parameters": locked.parameters,
        "context": locked.context,
        "size": sum(file.size for file in files),
        "memory": locked.memory,
        "sha256": locked.weights.sha256,
        "cached": all(file.sha256 and cache.has(file.sha256) for file in files),
    }


def _lines(call: Call, rows: Sequence[dict[str, object]]) -> list[str]:
    from paictl.cli.console.table import table

    if not rows:
        return ["The manifest has no models. `paictl fit` shows which this machine can run."]

    def count(row: dict[str, object], key: str) -> str:
        value = row.get(key)
        return byte_count(value) if isinstance(value, int) and value else ""

    cells = [
        (
            str(row["name"]),
            str(row["task"]),
            str(row.get("engine", "API")),
            count(row, "size"),
            count(row, "memory"),
            ("yes" if row["cached"] else "no") if row["local"] else "",
            str(row["source"]).rpartition("/")[2] or str(row["source"]),
        )
        for row in rows
    ]
    return table(("MODEL", "TASK", "ENGINE", "FILES", "MEMORY", "HERE", "IS"), cells, call.terminal.width)
