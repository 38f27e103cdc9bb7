from __future__ import annotations

import json

import pytest

from paictl.assets import asset
from paictl.manifest.dump import dump
from paictl.manifest.load import load
from tests.manifest.conftest import SMALL, Folder


@pytest.mark.parametrize("target", ["laptop", "desk", "pi", "vps", "home"])
def test_what_config_prints_loads_to_the_same_agent(folder: Folder, target: str) -> None:
    full = asset("examples", "full")
    manifest = load([full / "agent.yaml"], env={"ATLAS_CLOUD_MODEL": "m$${X} $$"}, target=target)
    for included in manifest.includes.values():
        folder.write(included.file, included.text)
    folder.write("agent.yaml", dump(manifest))
    again = folder.load(target=target)
    assert again.agent == manifest.agent.model_copy(update={"overlays": {}})
    assert again.digest == manifest.digest
    assert dump(again) == dump(manifest)


_TRICKY = [
    *("yes", "no", "1", "0x1f", "null", "~", "1e3", " x ", "a: b", "# c", "", "- x", "*a", "&a", "!t", "a #b"),
    *("a\nb\n", "  a\nb", "a\n\n\n", "\t", "é\u2028x", "%a", "@a", "`a`", "{a", "[a", "'a", '"a'),
]


def test_with_origins_every_value_says_where_it_came_from(folder: Folder) -> None:
    folder.write("agent.yaml", SMALL.replace("driver: native", "driver: native, profile: raspberry-pi-5"))
    folder.write("agent.laptop.yaml", "spec:\n  gateway: {port: 8701}\n")
    lines = dump(folder.load(), origins=True).splitlines()
    values = [line for line in lines if not line.split(" # ")[0].rstrip().endswith(":")]
    assert all(" # " in line for line in values)
    said = {line.split(" # ")[0].strip(): line.split(" # ")[1] for line in values}
    assert said["port: 8701"] == "agent.laptop.yaml:2"
    assert said["threads: 3"] == "profiles/raspberry-pi-5.yaml:16"
    assert said["name: atlas"] == "agent.yaml:3"
    assert said["rotate: 90d"] == "default"


def test_texts_that_look_like_something_else_stay_texts(folder: Folder) -> None:
    text = SMALL + "  skills:\n" + "".join(f"    s{i}: {_quoted(each)}\n" for i, each in enumerate(_TRICKY))
    folder.write("agent.yaml", text)
    manifest = folder.load()
    assert list(manifest.agent.spec.skills.values()) == _TRICKY
    folder.write("agent.yaml", dump(manifest))
    assert folder.load().agent == manifest.agent
    folder.write("agent.yaml", dump(manifest, origins=True))
    assert folder.load().agent == manifest.agent


def _quoted(text: str) -> str:
    return json.dumps(text)
