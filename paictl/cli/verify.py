"""``paictl verify``: tries from inside the rooms, and from outside the door, what the manifest forbids and what it allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paictl.cli.flags import Call, verb_command
from paictl.errors import PaictlError

if TYPE_CHECKING:
    from paictl.cli.session import Session
    from paictl.engine.verify import Check

__all__ = ["verb"]


class Broken(PaictlError):
    """Something that must not work works, or the other way round."""

    code = "not-confined"


@verb_command("verify")
def verb(call: Call) -> None:
    """Prove the room and the door: addresses, DNS, paths, processes, secrets from inside; listeners from outside.

    Exits 0 only when every check holds. Leaves nothing behind.
    """
    from paictl.cli.session import open_session
    from paictl.engine.verify import verify

    session = open_session(call)
    needles = dict(_needles(session))
    reach = session.reach()
    blueprint = session.blueprint()
    checks = verify(session.driver, blueprint, reach, needles, _private(session))
    call.terminal.result(_document(session, checks), lambda: _lines(call, checks))
    failed = sum(not check.passed for check in checks)
    if failed:
        raise Broken(
            f"{failed} of {len(checks)} checks failed",
            help="Nothing was changed. `paictl status` says whether the sandbox is on; `paictl drift` what was edited.",
        )


def _needles(session: Session) -> Iterator[tuple[str, bytes]]:
    """Every secret that no room may hold: the declared ones that can be read here, and the owner's token."""
    from paictl.cli.resolution import read_secret

    yield "gateway-token", session.reach().token.encode()
    brought = {secret.name for secret in session.blueprint().secrets if secret.brought}
    for name in session.manifest.agent.spec.secrets:
        if name not in brought:
            yield name, read_secret(session.manifest, name)


def _private(session: Session) -> Sequence[Path]:
    from paictl import places

    return (
        Path.home(),
        session.manifest.folder.resolve(),
        places.state_home(),
        places.config_home(),
        places.cache_home(),
        places.data_home(),
    )


def _document(session: Session, checks: Sequence[Check]) -> Mapping[str, object]:
    return {
        "format": "1",
        "agent": session.scope.agent,
        "target": session.scope.target,
        "passed": all(check.passed for check in checks),
        "checks": [
            {"where": check.where, "tried": check.tried, "passed": check.passed, "detail": check.detail}
            for check in checks
        ],
    }


def _lines(call: Call, checks: Sequence[Check]) -> list[str]:
    from paictl.cli.console.table import table

    terminal = call.terminal
    good, bad = terminal.style("pass", fg="green"), terminal.style("FAIL", fg="red", bold=True)
    rows = [(check.where, check.tried, good if check.passed else bad, check.detail) for check in checks]
    passed = sum(check.passed for check in checks)
    return [
        *table(("WHERE", "TRIED", "RESULT", "FOUND"), rows, terminal.width),
        "",
        f"{passed} of {len(checks)} checks hold.",
    ]
