"""The kind ``volume``: what outlives containers. Data is removed only by a step that says that it destroys it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.kind import Act
from paictl.drivers.docker.naming import HOLDS_DATA, KIND, UPLOAD, owner_of
from paictl.drivers.docker.safekeeping import KEPT
from paictl.errors import Refused

__all__ = ["Volumes", "volume_options"]

_ONE_BY_ONE = threading.Lock()


class Volumes:
    """A named volume of the local driver; on tmpfs where its options say so."""

    def make(self, act: Act) -> None:
        # Creating one that exists succeeds and answers with the old one, whoever's it is.
        options = volume_options(act.spec)
        told = act.connection.api.create_volume(
            act.engine_name, driver="local", driver_opts=options or None, labels=act.labels()
        )
        if owner_of(act.scope, told.get("Labels")) != "mine":
            raise Refused(
                f"there is a volume {act.engine_name} that is not paictl's",
                help=f"Look at `docker volume inspect {act.engine_name}`; `paictl adopt` takes it over.",
            )
        if (told.get("Options") or {}) == options:
            return
        if not _may_go(act, told):
            raise Refused(
                f"the volume {act.engine_name} has other options than it was made with, and may hold data",
                help=f"Save what is in it; `--delete-data {act.step.address}` makes it anew, empty.",
            )
        _remove(act.connection, act.engine_name)
        act.connection.api.create_volume(
            act.engine_name, driver="local", driver_opts=options or None, labels=act.labels()
        )

    def remove(self, act: Act) -> None:
        told = _found(act.connection, act.engine_name)
        if told is None or owner_of(act.scope, told.get("Labels")) == "foreign":
            return
        if _may_go(act, told):
            _remove(act.connection, act.engine_name)


def _may_go(act: Act, told: Mapping[str, Any]) -> bool:
    """Whether it holds no data, or the step says that it destroys some."""
    data = (told.get("Labels") or {}).get(HOLDS_DATA) == "true" or bool(
        act.step.resource and act.step.resource.holds_data
    )
    return not data or bool(act.step.effect and act.step.effect.destroys)


def volume_options(spec: Mapping[str, object]) -> dict[str, str]:
    """The options for the volume's driver."""
    options = spec.get("options")
    return {str(key): str(value) for key, value in options.items()} if isinstance(options, Mapping) else {}


def _found(connection: Connection, name: str) -> dict[str, Any] | None:
    volumes = connection.api.volumes(filters={"name": [name]})["Volumes"] or []
    return next((one for one in volumes if one["Name"] == name), None)


def _remove(connection: Connection, name: str) -> None:
    """Remove it, with the containers that were only there to fill it (a kill may have left one) or to have it in use."""
    # One has several volumes in use, and an engine refuses to remove what it is just removing.
    with _ONE_BY_ONE:
        for kind in (UPLOAD, KEPT):
            for one in connection.api.containers(all=True, filters={"volume": [name], "label": [f"{KIND}={kind}"]}):
                connection.api.remove_container(one["Id"], force=True)
    connection.api.remove_volume(name)
