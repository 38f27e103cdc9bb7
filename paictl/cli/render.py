"""``paictl render``: the plain files of a driver, readable and usable without paictl."""

from __future__ import annotations

from pathlib import Path

import click

from paictl.cli.flags import Call, option, verb_command
from paictl.errors import Refused

__all__ = ["verb"]


@verb_command("render", own_short="-o")
@option(
    "-o", "--out", type=click.Path(file_okay=False), metavar="DIR", help="Write the files there; printed otherwise."
)
@option("--force", is_flag=True, help="Write over files that differ.")
def verb(call: Call, out: str | None, force: bool) -> None:
    """Write the files that the driver's own tools accept: Compose, Kubernetes manifests, an Ansible project, supervisor.

    They hold no secret. --driver renders for another driver than the target's.
    """
    from paictl.cli.drivers import rendered
    from paictl.cli.session import open_session

    session = open_session(call)
    files = rendered(session.driver_name, session.blueprint())
    if out is None:
        text = "\n".join(f"# ── {path}\n{content.rstrip()}\n" for path, content in sorted(files.items()))
        call.terminal.result({"format": "1", "files": dict(files)}, lambda: text.rstrip("\n"), raw=True)
        return
    root = Path(out)
    differing = [path for path, content in files.items() if _differs(root / path, content)]
    if differing and not force:
        raise Refused(
            f"{root / differing[0]}{f' and {len(differing) - 1} more' if len(differing) > 1 else ''} would be written over",
            help="Choose an empty folder, or say --force.",
        )
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content, encoding="utf-8")
    names = sorted(files)
    call.terminal.result(
        {"format": "1", "directory": out, "files": names},
        # What was asked for are the files; that they were written is a remark.
        lambda: [] if call.terminal.verbosity < 0 else [str(root / name) for name in names],
    )


def _differs(path: Path, content: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8", errors="replace") != content
