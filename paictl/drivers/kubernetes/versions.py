"""Which clusters are recent enough for this driver. Asked before an apply, and when one declines what newer ones do."""

from __future__ import annotations

import re

from paictl.drivers.kubernetes.connection import Connection
from paictl.errors import Unavailable

__all__ = ["too_old"]

# The first that can end a command's input over a WebSocket; those before speak SPDY, which nothing here does.
_OLDEST = 30


def too_old(connection: Connection) -> Unavailable | None:
    """What to tell of a cluster that is older; None of one that will do, or that does not say how old it is."""
    told = connection.ask("/version", "asking for the cluster's version")
    minor = re.match(r"\d+", str(told.get("minor", "")))
    if minor is None or int(minor[0]) >= _OLDEST:
        return None
    return Unavailable(
        f"this cluster is Kubernetes {told.get('gitVersion')}, which is too old",
        help=f"paictl needs Kubernetes 1.{_OLDEST} or newer.",
    )
