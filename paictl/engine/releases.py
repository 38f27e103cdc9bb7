"""The releases of one agent on one target, as files: ``releases/NNNN.json``, the last ten. Kept by the ledger."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from paictl.engine.codec import resource_from_json, resource_to_json
from paictl.engine.durable import write_durably
from paictl.engine.formats import Damaged, decode, encode
from paictl.engine.intent import Declared
from paictl.engine.outcome import Release
from paictl.engine.points import OnPoint
from paictl.errors import Refused

__all__ = ["KEPT", "Releases"]

KEPT = 10


class Releases:
    """Reads and writes the folder; creates it with the first release."""

    def __init__(self, folder: Path, target: str) -> None:
        self._folder = folder
        self._target = target

    def numbers(self) -> list[int]:
        """The kept ones, the oldest first."""
        if not self._folder.is_dir():
            return []
        return sorted(int(path.stem) for path in self._folder.glob("[0-9]*.json") if path.stem.isdigit())

    def find(self, number: int) -> Release | None:
        """The release of that number; None when it is not kept, or can't be read any more."""
        try:
            data = self._path(number).read_bytes()
        except FileNotFoundError:
            return None
        try:
            content = decode(data, f"release {number}")
            driver = content["driver"]
            return Release(
                number=number,
                driver=driver,
                when=content["when"],
                who=content["who"],
                verb=content["verb"],
                resources=tuple(resource_from_json(one, self._target, driver) for one in content["resources"]),
                manifest=content["manifest"],
                lock=content["lock"],
                runtime=content["runtime"],
                declared=Declared(**content["declared"]),
            )
        except (Damaged, KeyError, TypeError):
            return None

    def read(self, number: int) -> Release:
        """The release of that number; ``Refused`` naming those that there are."""
        release = self.find(number)
        if release is None and number in self.numbers():
            raise Refused(
                f"the record of release {number} is damaged: {self._path(number)}",
                help="`paictl apply` makes a new release of what the manifest says; see `paictl history`.",
            )
        if release is None:
            there = ", ".join(str(one) for one in self.numbers()) or "none"
            raise Refused(
                f"there is no release {number} to go back to; kept are: {there}", help="See `paictl history`."
            )
        return release

    def write(self, release: Release, on_point: OnPoint) -> None:
        """Keep a release, and let go of the oldest beyond ten."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        content = {
            "driver": release.driver,
            "when": release.when,
            "who": release.who,
            "verb": release.verb,
            "manifest": release.manifest,
            "lock": release.lock,
            "runtime": dict(release.runtime),
            "declared": asdict(release.declared),
            "resources": [resource_to_json(resource) for resource in release.resources],
        }
        write_durably(self._path(release.number), encode(content), on_point)
        for number in self.numbers()[:-KEPT]:
            self._path(number).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:04}.json"
