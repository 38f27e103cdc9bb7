from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

import pytest

from paictl.blueprint.types import Blueprint
from paictl.render import ansible, docker, kubernetes
from tests.render.blueprints import CANARY, QUICKSTART, WITH_API_MODEL

DRIVERS = {"docker": docker.files, "kubernetes": kubernetes.files, "ansible": ansible.files}
Files = Callable[[Blueprint], Mapping[str, str]]

every_driver = pytest.mark.parametrize("files", DRIVERS.values(), ids=DRIVERS)
every_blueprint = pytest.mark.parametrize("blueprint", [QUICKSTART, WITH_API_MODEL], ids=["quickstart", "api-model"])


@every_driver
def test_no_secret_and_no_trace_of_one_is_in_any_file(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    text = json.dumps(dict(files(WITH_API_MODEL)))
    assert CANARY not in text
    assert "keyed-0001" not in text


@every_driver
@every_blueprint
def test_the_same_blueprint_gives_the_same_bytes_in_another_process(files: Files, blueprint: Blueprint) -> None:
    program = (
        "import sys, hashlib, json; from tests.render import blueprints; from paictl.render import docker, kubernetes, ansible;"
        f"files = {files.__module__.rsplit('.', 1)[-1]}.files(blueprints.{'QUICKSTART' if blueprint is QUICKSTART else 'WITH_API_MODEL'});"
        "print(hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


@every_driver
@every_blueprint
def test_paths_stay_below_the_folder_that_is_rendered_into(files: Files, blueprint: Blueprint) -> None:
    for path in files(blueprint):
        assert not PurePosixPath(path).is_absolute()
        assert ".." not in PurePosixPath(path).parts


@every_driver
@every_blueprint
def test_no_address_is_left_unwired(files: Files, blueprint: Blueprint) -> None:
    configs = {path: text for path, text in files(blueprint).items() if "/source/" not in path}
    assert not [path for path, text in configs.items() if "endpoint://" in text]


@every_driver
def test_what_a_person_wrote_arrives_as_it_was_written(files: Files) -> None:
    wanted = QUICKSTART.service("agent").config.content
    assert isinstance(wanted, Mapping)
    escaped = json.dumps(wanted["instructions"])
    assert [path for path, text in files(QUICKSTART).items() if escaped in text]
