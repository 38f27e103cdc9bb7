"""``paictl fit``: what this machine has, and which models of the catalogue it can run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from paictl.cli.flags import Call, option, verb_command
from paictl.sizes import byte_count

if TYPE_CHECKING:
    from paictl.fit.catalogue import Entry
    from paictl.fit.hardware import Hardware

__all__ = ["verb"]


@verb_command("fit", takes_file=False)
@option("--context", default="8k", metavar="TOKENS", help="The context the chat models are to hold; 8k.")
def verb(call: Call, context: str) -> None:
    """Show this machine's cores and memory, and which models fit it. Needs no manifest; reaches no network.

    `select:` in a manifest chooses among these; `paictl lock` writes down what it chose.
    """
    from paictl import places
    from paictl.errors import UsageError
    from paictl.fit.catalogue import shipped
    from paictl.fit.choose import budget
    from paictl.fit.hardware import probe
    from paictl.manifest.quantities import parse_count

    try:
        tokens = parse_count(context)
    except (ValueError, KeyError):
        raise UsageError(f"{context!r} is not a number of tokens", help="Write it as 8k or 8192.") from None
    hardware = probe(places.cache_home())
    available = budget(hardware)
    rows = [(entry, entry.need(tokens).total) for entry in shipped()]
    document = {
        "format": "1",
        "hardware": {key: value for key, value in asdict(hardware).items() if key != "name"},
        "budget": available,
        "models": [
            {"name": entry.name, "task": entry.task, "memory": need, "fits": need <= available, "source": entry.source}
            for entry, need in rows
        ],
    }
    call.terminal.result(document, lambda: _lines(call, hardware, available, rows))


def _lines(call: Call, hardware: Hardware, available: int, rows: list[tuple[Entry, int]]) -> list[str]:
    from paictl.cli.console.table import table
    from paictl.fit.choose import speed

    style = call.terminal.style
    gpus = [f"{gpu.name} with {byte_count(gpu.total)}" for gpu in hardware.gpus] or ["no GPU"]
    cores = f"{hardware.cores} {'core' if hardware.cores == 1 else 'cores'}"
    machine = f"{hardware.model or hardware.arch}: {cores}, {byte_count(hardware.ram)} memory, {', '.join(gpus)}"
    lines = [machine, f"{byte_count(available)} of it for models, {byte_count(hardware.disk_free)} free on disk", ""]
    cells = [
        (
            entry.name,
            entry.task,
            byte_count(entry.size),
            byte_count(need),
            style("yes", fg="green") if need <= available else style("no", fg="red"),
            f"{speed(entry, hardware):.0f}/s" if entry.task == "chat" and need <= available else "",
        )
        for entry, need in rows
    ]
    return lines + table(("MODEL", "TASK", "FILE", "MEMORY", "FITS", "TOKENS"), cells, call.terminal.width)
