from __future__ import annotations

import pytest

from scripts.reference import ROOT, documents


@pytest.mark.parametrize("name", ["docs/reference.md", "docs/errors.md", "schemas/agent.v1alpha1.json"])
def test_what_is_generated_is_what_is_committed(name: str) -> None:
    assert documents()[ROOT / name] == (ROOT / name).read_text(encoding="utf-8"), "run `make reference`"
