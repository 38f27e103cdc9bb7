from __future__ import annotations

import pytest

from paictl.manifest.models import Permissions
from paictl.runtime.gateway.policy import Policy, Tokens

PERMISSIONS = Permissions.model_validate(
    {
        "people": {"alice": "owner", "bob": {"role": "assistant"}, "carol": "nobody-declared", "dave": "owner"},
        "roles": {"assistant": {"may": ["chat", "memory.read:work", "workflow.run:brief-*"]}},
    }
)


@pytest.mark.parametrize(
    ("principal", "action", "resource", "allowed", "rule"),
    [
        ("alice", "anything.at.all", "x", True, "metadata.owner"),
        ("dave", "anything.at.all", "x", True, "spec.permissions.people.dave"),
        ("bob", "chat", "atlas", True, "spec.permissions.roles.assistant.may[0]"),
        ("bob", "memory.read", "work", True, "spec.permissions.roles.assistant.may[1]"),
        ("bob", "memory.read", "home", False, "spec.permissions.roles.assistant does not grant memory.read:home"),
        ("bob", "memory.write", "work", False, "spec.permissions.roles.assistant does not grant memory.write:work"),
        ("bob", "workflow.run", "brief-monday", True, "spec.permissions.roles.assistant.may[2]"),
        ("bob", "status.read", "atlas", False, "spec.permissions.roles.assistant does not grant status.read:atlas"),
        ("carol", "chat", "atlas", False, "spec.permissions.roles.nobody-declared does not grant chat:atlas"),
        ("mallory", "chat", "atlas", False, "spec.permissions.people does not name 'mallory'"),
        ("", "chat", "atlas", False, "spec.permissions.people does not name ''"),
    ],
)
def test_what_is_not_granted_is_denied_and_the_line_is_named(
    principal: str, action: str, resource: str, allowed: bool, rule: str
) -> None:
    verdict = Policy(PERMISSIONS, "alice").decide(principal, action, resource)
    assert (verdict.allowed, verdict.rule) == (allowed, rule)


def test_a_token_belongs_to_whom_it_was_given() -> None:
    tokens = Tokens({"alice": "a" * 32, "bob": "b" * 32})
    assert tokens.principal("Bearer " + "a" * 32) == "alice"
    assert tokens.principal("bearer " + "b" * 32) == "bob"
    assert tokens.principal("b" * 32) is None
    assert tokens.principal("Bearer " + "c" * 32) is None
    assert tokens.principal("Bearer ümlaut") is None
