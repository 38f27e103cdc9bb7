"""The JSON Schema (2020-12) of the manifest for editors, generated from the models. ``schemas/`` holds what comes out."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from paictl.manifest.models import API_VERSION, Agent

__all__ = ["SCHEMA_FILE", "schema"]

SCHEMA_FILE = f"agent.{API_VERSION.removeprefix('pai/')}.json"
_ID = f"urn:paictl:schema:{SCHEMA_FILE.removesuffix('.json')}"
_EXTENSIONS = {"^x-": {"description": "Ignored by paictl: yours."}}


def schema() -> dict[str, Any]:
    """The schema as plain JSON values, its keys in the order of the models."""
    generated = Agent.model_json_schema(by_alias=True, mode="validation", schema_generator=_Generator)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": _ID, **_tidied(generated)}


class _Generator(GenerateJsonSchema):
    """Titles only where they say something: of the objects, not of every field."""

    def field_title_should_be_set(self, _schema: Any) -> bool:
        return False


def _tidied(node: Any) -> Any:
    if isinstance(node, list):
        return [_tidied(each) for each in node]
    if not isinstance(node, dict):
        return node
    tidy = {key: _tidied(value) for key, value in node.items()}
    if tidy.get("type") == "object" and tidy.get("additionalProperties") is False and "properties" in tidy:
        # `x-*` is the only escape from strictness.
        tidy["patternProperties"] = _EXTENSIONS
    elif tidy.get("type") == "object" and "patternProperties" in tidy:
        # A mapping of names: what is not a name is no key.
        tidy["additionalProperties"] = False
    variants = tidy.get("anyOf")
    if variants and {"type": "null"} in variants and tidy.get("default", 0) is None:
        # Absent is the way to say "none": an editor need not offer null. In overlays, which are free-form, null deletes.
        rest = [each for each in variants if each != {"type": "null"}]
        del tidy["anyOf"], tidy["default"]
        tidy = {**(rest[0] if len(rest) == 1 else {"anyOf": rest}), **tidy}
    return tidy
