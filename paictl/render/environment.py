"""The Jinja2 environment over templates/, the only place that knows Jinja2; used by every renderer. It reads templates, nothing else."""

from __future__ import annotations

import json
import re
from functools import cache

import jinja2

from paictl.assets import asset

__all__ = ["environment", "quoted"]

# YAML 1.2 calls these non-printable, JSON lets them stand raw: C1 controls, line separators, the byte order mark, surrogates.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")


@cache
def environment() -> jinja2.Environment:
    """A strict environment: an undefined name is an error, and blocks leave no blank lines behind.

    One for all, since it keeps what it compiled: a unit's template is rendered for every service.
    """
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(asset("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - nothing here is HTML; what a person wrote goes through `quoted`
    )
    made.filters["quoted"] = quoted
    return made


def quoted(value: object) -> str:
    """A value as JSON that is also a YAML flow scalar or collection, whatever characters a person used."""
    text = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
