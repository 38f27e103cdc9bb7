"""Who may do what: the manifest's ``permissions`` as decisions, each naming the line that made it. Pure; denies by default."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from paictl.manifest.models import Permissions, Person

__all__ = ["Policy", "Tokens", "Verdict"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Allowed or not, and the rule of the manifest that says so."""

    allowed: bool
    rule: str


class Policy:
    """The decision for a principal, an action (``memory.read``) and a resource (``work``)."""

    def __init__(self, permissions: Permissions, owner: str) -> None:
        self._permissions = permissions
        self._owner = owner

    def decide(self, principal: str, action: str, resource: str) -> Verdict:
        if principal == self._owner:
            return Verdict(True, "metadata.owner")
        person = self._permissions.people.get(principal)
        if person is None:
            return Verdict(False, f"spec.permissions.people does not name {principal!r}")
        role = person.role if isinstance(person, Person) else person
        if role == "owner":
            return Verdict(True, f"spec.permissions.people.{principal}")
        declared = self._permissions.roles.get(role)
        for index, grant in enumerate(declared.may if declared else ()):
            granted, _, pattern = grant.partition(":")
            if granted == action and (not pattern or fnmatchcase(resource, pattern)):
                return Verdict(True, f"spec.permissions.roles.{role}.may[{index}]")
        return Verdict(False, f"spec.permissions.roles.{role} does not grant {action}:{resource}")


class Tokens:
    """Bearer tokens by principal. Only their hashes are kept; a comparison takes the same time for each of them."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._hashes = {principal: _digest(token) for principal, token in tokens.items()}

    def principal(self, authorization: str) -> str | None:
        """Whose ``Authorization`` header this is, or None."""
        scheme, _, token = authorization.partition(" ")
        offered = _digest(token.strip())
        found = None
        for principal, digest in self._hashes.items():
            if hmac.compare_digest(digest, offered):
                found = principal
        return found if scheme.lower() == "bearer" else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
