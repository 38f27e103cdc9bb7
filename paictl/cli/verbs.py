"""The table of verbs: everything that ``paictl`` can be told to do, a line each. A verb's module is imported when it is used."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ALIASES", "GROUPS", "VERBS", "Verb"]


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb's name and its line in the help."""

    name: str
    summary: str

    @property
    def module(self) -> str:
        """Where the command is, under the name ``verb``."""
        return f"paictl.cli.{self.name}"


GROUPS: tuple[tuple[str, tuple[Verb, ...]], ...] = (
    (
        "Write a manifest",
        (
            Verb("init", "Write a commented starter manifest"),
            Verb("validate", "Check the manifest; no network, no target"),
            Verb("config", "Print the merged manifest"),
            Verb("explain", "Document a field of the manifest"),
            Verb("schema", "Print the JSON Schema, for editors"),
            Verb("migrate", "Rewrite an older manifest to the current version"),
        ),
    ),
    (
        "Make it true",
        (
            Verb("bootstrap", "Let paictl in on hosts by a key"),
            Verb("plan", "Show what apply would do; writes nothing"),
            Verb("apply", "Plan, ask, and carry out"),
            Verb("destroy", "Remove what apply made; keeps data"),
            Verb("rollback", "Go back to an earlier release"),
            Verb("history", "List the releases"),
            Verb("adopt", "Take over what stands already"),
            Verb("render", "Write the driver's plain files"),
        ),
    ),
    (
        "Look and talk",
        (
            Verb("chat", "Talk to the agent"),
            Verb("status", "Show every service, its health and address"),
            Verb("drift", "Compare what stands with the last release"),
            Verb("verify", "Try from inside what the manifest forbids"),
            Verb("logs", "Show what services wrote"),
            Verb("exec", "Run a command in a service's room"),
            Verb("open", "Show the agent's address"),
            Verb("vpn", "List the VPN's devices, and let one in"),
        ),
    ),
    (
        "Models and secrets",
        (
            Verb("lock", "Resolve models and pins into agent.lock"),
            Verb("fit", "Show what this machine can run"),
            Verb("models", "List and fetch the models"),
            Verb("secrets", "List and check the declared secrets"),
        ),
    ),
    (
        "This program",
        (
            Verb("doctor", "Find what is wrong here, and mend it"),
            Verb("completion", "Print a shell's completion script"),
            Verb("version", "Print the version"),
        ),
    ),
)

VERBS = {verb.name: verb for _, verbs in GROUPS for verb in verbs}

ALIASES = {"diff": "plan"}
