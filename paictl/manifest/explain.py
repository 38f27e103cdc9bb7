"""Documents one field of the manifest from the same models as the schema. ``paictl explain`` prints what comes from here."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from paictl.errors import UsageError
from paictl.manifest.findings import nearest
from paictl.manifest.models import Agent
from paictl.manifest.shape import Shape, shape_of

__all__ = ["Child", "Explained", "all_fields", "explain"]


@dataclass(frozen=True, slots=True)
class Child:
    """A field below the explained one. ``description`` is its first sentence."""

    name: str
    type: str
    description: str
    required: bool


@dataclass(frozen=True, slots=True)
class Explained:
    """A field: ``path`` with NAME where any name may stand, ``default`` as YAML (empty: none), ``example`` as YAML."""

    path: str
    type: str
    required: bool
    default: str
    description: str
    example: str
    choices: tuple[str, ...]
    children: tuple[Child, ...]


def explain(path: str = "") -> Explained:
    """The field at ``spec.models.chat.source`` or ``spec.models.NAME.source``; the whole manifest for an empty path.

    Raises ``UsageError`` with the nearest field for a path that does not exist.
    """
    shape: Shape = shape_of(Agent)
    said: list[str] = []
    field: FieldInfo | None = None
    parts = [each for each in re.split(r"[.\[\]]+", path) if each]
    while parts:
        here = _unlisted(shape)
        part = _next(parts, here)
        below = here.child(part)
        if below is None:
            where = ".".join(said) or "the manifest"
            advice = nearest(part, here.keys, "fields") if here.keys else f"{where} has no fields"
            raise UsageError(f"`{part}` is not a field of {where}", help=advice)
        is_name = part not in here.keys
        said.append("NAME" if is_name else part)
        field = field if is_name else below.field
        shape = below
    return _explained(".".join(said), shape, field)


def _next(parts: list[str], shape: Shape) -> str:
    """Take the first part off; two of them where a key itself has a dot in it, as llama.cpp has."""
    mapping = shape.branch("mapping")
    dotted = ".".join(parts[:2])
    if mapping is not None and len(parts) > 1 and dotted in (mapping.names or ()):
        del parts[:2]
        return dotted
    return parts.pop(0)


def all_fields() -> tuple[Explained, ...]:
    """Every field in the order of the models: the reference in the documentation is made from this."""
    found: list[Explained] = []

    def walk(path: str) -> None:
        here = explain(path)
        found.append(here)
        for child in here.children:
            walk(f"{path}.{child.name}" if path else child.name)

    walk("")
    return tuple(found)


def _explained(path: str, shape: Shape, field: FieldInfo | None) -> Explained:
    own = shape.field
    inner = _unlisted(shape)
    model = next((branch.model for branch in inner.branches if branch.model is not None), None)
    about = (
        (own.description if own is not None else None) or _doc(model) or (field.description if field else None) or ""
    )
    mapping = inner.branch("mapping")
    children = tuple(_child(name, inner.child(name)) for name in inner.keys)
    if mapping is not None:
        # Literal keys are the names themselves.
        names = mapping.names or ("NAME",)
        children = tuple(_child(name, inner.child(name)) for name in names)
    return Explained(
        path=path,
        type=shape.describe() or "anything",
        required=own is not None and own.is_required(),
        default=_default(own),
        description=about,
        example=_example(own, shape),
        choices=tuple(choice for branch in inner.branches for choice in branch.choices),
        children=children,
    )


def _child(name: str, shape: Shape | None) -> Child:
    if shape is None:
        return Child(name, "anything", "", required=False)
    field = shape.field
    model = next((branch.model for branch in shape.branches if branch.model is not None), None)
    description = (field.description if field is not None else None) or _doc(model)
    required = field is not None and field.is_required()
    return Child(name, shape.describe(), description or "", required)


def _unlisted(shape: Shape) -> Shape:
    """What a list holds: paths leave out the indices."""
    listed = shape.branch("list")
    return shape_of(listed.item) if listed is not None and not shape.keys else shape


def _doc(model: type[BaseModel] | None) -> str:
    return " ".join((model.__doc__ or "").split()) if model is not None else ""


def _default(field: FieldInfo | None) -> str:
    if field is None or field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, BaseModel) or value in ({}, []):
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _flow(value: object) -> str:
    """One line of YAML: JSON with the quotation marks left out where nothing needs them."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    text = json.dumps(value, ensure_ascii=False)
    return str(value) if isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./@-]*", value) else text


def _example(field: FieldInfo | None, shape: Shape) -> str:
    if field is not None and field.examples:
        value = field.examples[0]
        return value if isinstance(value, str) else _flow(value)
    return next((branch.example for branch in shape.branches if branch.example), "")
