"""The manifest's types as one can walk them: which keys, choices and kinds of value a path may have.

The hints in error messages, ``explain`` and the removal of ``x-*`` keys ask here; nothing is validated here.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

__all__ = ["Branch", "Shape", "shape_of"]

Kind = Literal["object", "mapping", "list", "choice", "text", "number", "boolean", "anything"]


@dataclass(frozen=True)
class Branch:
    """One way a value may look. ``label`` is how pydantic names it in the place of an error below a union."""

    kind: Kind
    label: str
    model: type[BaseModel] | None = None
    item: Any = None
    choices: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    words: str = ""
    pattern: str = ""
    example: str = ""


@dataclass(frozen=True)
class Shape:
    """All the ways a value at one path may look, and the field it belongs to (none for items of lists and mappings)."""

    branches: tuple[Branch, ...]
    field: FieldInfo | None = None
    optional: bool = False

    @cached_property
    def is_union(self) -> bool:
        """Whether pydantic puts a branch's label into the place of an error."""
        return len(self.branches) > 1

    @cached_property
    def keys(self) -> dict[str, FieldInfo]:
        """The keys of an object, by the names that stand in a manifest."""
        return {
            field.alias or name: field
            for branch in self.branches
            if branch.model is not None
            for name, field in branch.model.model_fields.items()
        }

    def branch(self, kind: Kind) -> Branch | None:
        """The branch of that kind, if the value may be one."""
        return next((branch for branch in self.branches if branch.kind == kind), None)

    def child(self, key: str | int) -> Shape | None:
        """What stands below a key or index; ``None`` when nothing can."""
        if isinstance(key, str) and key in self.keys:
            return _field_shape(self.keys[key])
        for branch in self.branches:
            if branch.kind == ("list" if isinstance(key, int) else "mapping"):
                return shape_of(branch.item)
        return None

    def at(self, path: tuple[str | int, ...]) -> Shape | None:
        """What stands at a path below."""
        shape: Shape | None = self
        for key in path:
            shape = shape.child(key) if shape is not None else None
        return shape

    def describe(self) -> str:
        """For a sentence: ``text``, ``a whole number from 1 to 65535``, ``one of a, b``."""
        return " or ".join(dict.fromkeys(branch.words for branch in self.branches))


def shape_of(annotation: Any) -> Shape:
    """The shape of a type."""
    try:
        return _shape(annotation)
    except TypeError:  # an annotation that can't be hashed
        return _shape.__wrapped__(annotation)


@lru_cache(maxsize=512)
def _shape(annotation: Any) -> Shape:
    alternatives = list(_alternatives(annotation, ()))
    return Shape(
        tuple(_branch(kind, metadata) for kind, metadata in alternatives if kind is not type(None)),
        optional=any(kind is type(None) for kind, _ in alternatives),
    )


def _field_shape(field: FieldInfo) -> Shape:
    alternatives = list(_alternatives(field.annotation, (*field.metadata, field)))
    return Shape(
        tuple(_branch(kind, metadata) for kind, metadata in alternatives if kind is not type(None)),
        field,
        any(kind is type(None) for kind, _ in alternatives),
    )


def _alternatives(annotation: Any, metadata: tuple[Any, ...]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        inner, *more = typing.get_args(annotation)
        flat = [piece for each in more for piece in ([*each.metadata, each] if isinstance(each, FieldInfo) else [each])]
        yield from _alternatives(inner, (*metadata, *flat))
    elif origin in {typing.Union, types.UnionType}:
        for each in typing.get_args(annotation):
            yield from _alternatives(each, metadata)
    else:
        yield annotation, metadata


def _branch(annotation: Any, metadata: tuple[Any, ...]) -> Branch:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        choices = tuple(str(choice) for choice in arguments)
        words = f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
        return Branch("choice", "literal[", choices=choices, words=words)
    if origin is list:
        return Branch("list", "list[", item=arguments[0], words=_list_words(arguments[0]))
    if origin is dict:
        names = tuple(map(str, typing.get_args(arguments[0]))) if typing.get_origin(arguments[0]) is Literal else ()
        return Branch("mapping", "dict[", item=arguments[1], names=names, words="a mapping of names")
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _object(annotation)
    return _scalar(annotation, metadata)


def _object(model: type[BaseModel]) -> Branch:
    keys = [field.alias or name for name, field in model.model_fields.items()]
    shown = ", ".join(keys[:4]) + (", …" if len(keys) > 4 else "")
    return Branch("object", model.__name__, model=model, words=f"{{{shown}}}")


def _scalar(annotation: Any, metadata: tuple[Any, ...]) -> Branch:
    if annotation is bool:
        return Branch("boolean", "bool", words="true or false")
    if annotation is int:
        return Branch("number", "int", words="a whole number" + _limits(metadata))
    if annotation is not str:
        return Branch("anything", "", words="anything")
    pattern = next((piece.pattern for piece in metadata if hasattr(piece, "pattern")), "")
    examples = [str(each) for piece in metadata if isinstance(piece, FieldInfo) for each in piece.examples or ()]
    # In a union the field's own examples may be those of another branch.
    example = next((each for each in examples if not pattern or re.search(pattern, each)), "")
    title = next((piece.title for piece in metadata if isinstance(piece, FieldInfo) and piece.title), None)
    words = title or (f"text such as {example}" if pattern and example else "text")
    return Branch("text", "str", words=words, pattern=str(pattern or ""), example=example)


def _list_words(item: Any) -> str:
    return f"a list of {shape_of(item).describe()}"


def _limits(metadata: tuple[Any, ...]) -> str:
    low = next((piece.ge for piece in metadata if isinstance(piece, Ge)), None)
    high = next((piece.le for piece in metadata if isinstance(piece, Le)), None)
    if low is not None and high is not None:
        return f" from {low} to {high}"
    return f" of at least {low}" if low is not None else ""
