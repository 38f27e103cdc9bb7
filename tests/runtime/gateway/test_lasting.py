"""What the gateway's files wait for the disk for. That it holds when the power goes is tried in ``tests/hosts/test_power.py``."""

from __future__ import annotations

from pathlib import Path

import apsw

from paictl.runtime.gateway.ledger import Ledger
from paictl.runtime.gateway.memory.service import in_file

_NORMAL, _FULL = 1, 2


def _waits(file: Path) -> object:
    [connection] = [one for one in apsw.connections() if one.filename == str(file)]
    return connection.pragma("synchronous"), connection.pragma("journal_mode")


def test_a_memory_is_on_the_disk_before_anybody_is_told_that_it_is_kept(tmp_path: Path) -> None:
    keeping = in_file(tmp_path / "memory.db")
    assert _waits(tmp_path / "memory.db") == (_FULL, "wal")
    keeping.close()


def test_counters_of_a_budget_are_not_worth_waiting_for(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db", ())
    assert _waits(tmp_path / "ledger.db") == (_NORMAL, "wal")
    ledger.close()
