"""Counters of the door in Prometheus' text format; incremented on the event loop, read by ``GET /metrics``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

__all__ = ["Metrics"]

_BUCKETS = (0.002, 0.008, 0.025, 0.1, 0.5, 2.0, 10.0, 60.0)
_PAGE = os.sysconf("SC_PAGE_SIZE")

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Everything that is counted. Names and labels are part of the interface: docs/runtime.md lists them."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Labels]] = Counter()
        self._seconds: dict[Labels, list[float]] = {}

    def request(self, door: str, route: str, status: int, seconds: float) -> None:
        labels = (("door", door), ("route", route))
        self._counts["paictl_requests_total", (*labels, ("status", str(status)))] += 1
        histogram = self._seconds.setdefault(labels, [0.0] * (len(_BUCKETS) + 2))
        for index, bound in enumerate(_BUCKETS):
            histogram[index] += seconds <= bound
        histogram[-2] += 1
        histogram[-1] += seconds

    def refused(self, reason: str) -> None:
        self._counts["paictl_refused_total", (("reason", reason),)] += 1

    def tokens(self, model: str, prompt: int, completion: int) -> None:
        self._counts["paictl_model_tokens_total", (("kind", "prompt"), ("model", model))] += prompt
        self._counts["paictl_model_tokens_total", (("kind", "completion"), ("model", model))] += completion

    def egress(self, model: str, size: int) -> None:
        """Bytes of request bodies that left the target."""
        self._counts["paictl_egress_bytes_total", (("model", model),)] += size

    def text(self, records: Mapping[str, int], *, agent_ready: bool) -> str:
        """The exposition, with the gauges that others know."""
        lines = [f"{name}{_braces(labels)} {value}" for (name, labels), value in sorted(self._counts.items())]
        for labels, histogram in sorted(self._seconds.items()):
            for bound, value in zip(_BUCKETS, histogram, strict=False):
                lines.append(f"paictl_request_seconds_bucket{_braces((*labels, ('le', str(bound))))} {value:.0f}")
            lines.append(f"paictl_request_seconds_bucket{_braces((*labels, ('le', '+Inf')))} {histogram[-2]:.0f}")
            lines.append(f"paictl_request_seconds_count{_braces(labels)} {histogram[-2]:.0f}")
            lines.append(f"paictl_request_seconds_sum{_braces(labels)} {histogram[-1]:.6f}")
        lines += [
            f"paictl_memory_records{_braces((('space', space),))} {count}" for space, count in sorted(records.items())
        ]
        lines.append(f"paictl_agent_ready {int(agent_ready)}")
        lines.append(f"process_resident_memory_bytes {_resident()}")
        return _with_types(lines)


def _braces(labels: Labels) -> str:
    quoted = ",".join(f'{key}="{_escape(value)}"' for key, value in labels)
    return "{" + quoted + "}" if quoted else ""


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _with_types(lines: list[str]) -> str:
    out: list[str] = []
    named: set[str] = set()
    for line in lines:
        name = line.partition("{")[0].partition(" ")[0]
        family = name
        for suffix in ("_bucket", "_count", "_sum"):
            family = family.removesuffix(suffix) if family.startswith("paictl_request_seconds") else family
        if family not in named:
            named.add(family)
            kind = "counter" if family.endswith("_total") else "histogram" if family.endswith("_seconds") else "gauge"
            out.append(f"# TYPE {family} {kind}")
        out.append(line)
    return "\n".join(out) + "\n"


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0
