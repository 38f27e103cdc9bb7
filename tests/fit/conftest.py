"""What the tests of ``paictl.fit`` share."""

from __future__ import annotations

from tests.weights.conftest import cache, clock, index, site

__all__ = ["cache", "clock", "index", "site"]
