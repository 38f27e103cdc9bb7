"""What a person wrote reaches a role letter by letter: Ansible's own reader is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from paictl.drivers.ansible.writing import Literals, tasks_text


@pytest.mark.parametrize(
    "text", ["{{ 1 + 1 }}", "", "true", "0815", "{% raw %}", "a: b", "zwei\nZeilen\n", "'", '"', "!unsafe x", "ü"]
)
def test_a_text_of_a_person_stays_that_text(text: str, tmp_path: Path) -> None:
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar

    path = tmp_path / "tasks.yaml"
    tasks = [{"name": "{{ 1 + 1 }}", "vars": Literals({"said": text, "in": {"deep": [text]}})}]
    path.write_text(tasks_text(tasks), encoding="utf-8")
    loader = DataLoader()
    (task,) = loader.load_from_file(str(path), trusted_as_template=True)
    templar = Templar(loader, variables={})
    assert templar.template(task["vars"]) == {"said": text, "in": {"deep": [text]}}
    assert templar.template(task["name"]) == 2
