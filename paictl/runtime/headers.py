"""The header names that the two ends of the inner door, and whoever talks to the outer one, agree on."""

__all__ = ["CLASS", "KEY", "REPLY", "RUN", "SESSION"]

SESSION = "X-Paictl-Session"
"""Which conversation a request belongs to; without it, one of its own."""

RUN = "X-Paictl-Run"
"""Which run of a workflow asks."""

CLASS = "X-Paictl-Class"
"""How confidential a conversation is."""

KEY = "Idempotency-Key"
"""Repeats a writing call safely: the first one's answer is given again."""

REPLY = "X-Paictl-Reply"
"""Which attempt of the agent's an answer belongs to: sent again after a broken connection, it is the same one."""
