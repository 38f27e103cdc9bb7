from __future__ import annotations

from pathlib import Path

import pytest

from paictl.blueprint.compile import compile_blueprint
from paictl.blueprint.periodic import calendar
from paictl.blueprint.unavailable import unavailable
from paictl.manifest.load import Manifest, load
from paictl.render.periodic import periodic_hosts
from paictl.render.roles import role_vars
from tests.blueprint.manifests import QUICKSTART, RESOLVED


def _manifest(folder: Path, backup: str, driver: str = "ansible") -> Manifest:
    hosts = "hosts: {pi: {address: pi.lan}}" if driver == "ansible" else ""
    text = f"spec: {{targets: {{here: {{driver: {driver}, {hosts}}}}}, secrets: {{api: {{from: env, name: API}}}}, backup: {backup}}}\n"
    layer = folder / "more.yaml"
    layer.write_text(text, encoding="utf-8")
    return load([QUICKSTART, layer], target="here", env={})


@pytest.mark.parametrize(
    ("every", "when", "apart"),
    [
        (30, "*-*-* *:00/1:00", 60),
        (300, "*-*-* *:00/5:00", 300),
        (7 * 60, "*-*-* *:00/6:00", 360),
        (5 * 3600, "*-*-* 00/4:00:00", 4 * 3600),
        (86400, "*-*-* 00:00:00", 86400),
        (7 * 86400, "*-*-* 00:00:00", 86400),
    ],
)
def test_a_timer_comes_by_at_least_as_often_as_is_asked_for(every: int, when: str, apart: int) -> None:
    assert calendar(every) == (when, apart)


def test_a_backup_goes_where_the_data_is_and_who_asks_is_copied_before_who_answers(tmp_path: Path) -> None:
    wanted = '{to: "file:///srv/backup/", every: 7d, keep: 3, encrypt: {age: [age1x]}}'
    blueprint = compile_blueprint(_manifest(tmp_path, wanted), RESOLVED)
    assert periodic_hosts(blueprint, "backup") == ("pi",)
    told = role_vars(blueprint, "backup", "pi")
    assert told["backup_to"] == "/srv/backup/atlas"
    assert told["backup_folders"] == ["data/agent", "data/gateway"]
    assert "gateway-token" in str(told["backup_secrets"])
    assert (told["backup_calendar"], told["backup_keep"]) == ("*-*-* 00:00:00", 3)
    assert told["backup_due_seconds"] == 7 * 86400 - 43200


def test_without_a_word_in_the_manifest_no_host_backs_anything_up(tmp_path: Path) -> None:
    blueprint = compile_blueprint(_manifest(tmp_path, "null"), RESOLVED)
    assert blueprint.backup is None
    assert periodic_hosts(blueprint, "backup") == ()


@pytest.mark.parametrize(
    ("driver", "backup", "words"),
    [
        ("native", '{to: "file:///b", encrypt: {age: [age1x]}}', "Driver ansible has it"),
        ("ansible", '{to: "s3://b", encrypt: {age: [age1x]}}', "file://"),
        ("ansible", '{to: "file:///b", secret: api, encrypt: {age: [age1x]}}', "Take it out"),
    ],
)
def test_what_a_backup_can_not_be_yet_is_said_with_its_line(
    tmp_path: Path, driver: str, backup: str, words: str
) -> None:
    found = [one for one in unavailable(_manifest(tmp_path, backup, driver), driver) if "render" not in one.help]
    assert [words in one.help for one in found] == [True]
    assert found[0].span
