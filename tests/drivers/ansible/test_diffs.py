"""What Ansible's modules say of changes, as lines; and that what may hold a secret says nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from paictl.drivers.ansible.diffs import differences, items
from paictl.engine.preview import Difference

_ROLES = Path(__file__).parents[3] / "roles"
_FILES = {"copy", "template", "blockinfile", "lineinfile", "replace"}
_TEXT = {"before": "a\nb\nc\nd\n", "after": "a\nb\nC\nd\n", "before_header": "/etc/x", "after_header": "/dev/shm/x"}
_CANARY = "canary-7f3e91"


def _part(diff: object, **more: Any) -> dict[str, Any]:
    return {"changed": True, "diff": diff, "invocation": {"module_args": {"dest": "/etc/x"}}, **more}


def test_a_file_that_changes_shows_the_lines_and_one_beside_them() -> None:
    found = differences("ansible.builtin.copy", [_part([_TEXT])])
    assert found == (Difference("/etc/x", ("@@ -2,3 +2,3 @@", " b", "-c", "+C", " d")),)


def test_an_attribute_that_changes_shows_itself_alone() -> None:
    before = {"path": "/etc/y", "mode": "0600", "owner": 0}
    found = differences("ansible.builtin.file", [_part({"before": before, "after": {**before, "mode": "0644"}})])
    assert found == (Difference("/etc/y", ("-mode: 0600", "+mode: 0644")),)


def test_a_loop_shows_those_items_that_change() -> None:
    still = {"changed": False, "diff": [_TEXT]}
    parts = items({"changed": True, "results": [still, _part([_TEXT]), _part({"before": "", "after": ""})]})
    assert [one.path for one in differences("ansible.builtin.copy", parts)] == ["/etc/x"]


@pytest.mark.parametrize(
    ("said", "shown"), [({"dst_binary": 1}, "(not text)"), ({"src_larger": 9}, "(too large to be shown)")]
)
def test_what_is_no_text_is_said_to_be_none(said: dict[str, int], shown: str) -> None:
    assert differences("ansible.builtin.copy", [_part(said)])[0].lines == (shown,)


@pytest.mark.promise(23)
def test_what_is_censored_and_what_lies_among_secrets_is_never_shown() -> None:
    diff = {"before": "", "after": f"{_CANARY}\n"}
    dest = {"module_args": {"dest": "/etc/paictl/beacon/secrets/extra"}}
    parts = [_part(diff, censored="hidden"), _part(diff, invocation=dest)]
    assert differences("ansible.builtin.copy", parts) == ()


@pytest.mark.promise(23)
def test_no_role_writes_a_file_whose_log_it_hides_without_hiding_its_diff() -> None:
    found = [
        task["name"] for task in _tasks() if task.get("no_log") and _writes(task) and task.get("diff") is not False
    ]
    assert found == []


def _writes(task: dict[str, Any]) -> bool:
    return any(name.rpartition(".")[2] in _FILES for name in task)


def _tasks() -> Iterator[dict[str, Any]]:
    for file in sorted(_ROLES.glob("*/tasks/*.yml")):
        yield from _within(yaml.safe_load(file.read_text(encoding="utf-8")))


def _within(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always"):
            yield from _within(task.get(part, []))
