"""The table of verbs: everything that ``paictl`` can be told to do, a line each. A verb's module is imported when it is used."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ALIASES", "GROUPS", "VERBS", "Verb"]


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb's name, its line in the help, and the module whose ``verb`` is the command."""

    name: str
    summary: str
    module: str


GROUPS: tuple[tuple[str, tuple[Verb, ...]], ...] = (
    (
        "Write a manifest",
        (
            Verb("init", "Write a commented starter manifest", "paictl.cli.init"),
            Verb("validate", "Check the manifest; no network, no target", "paictl.cli.validate"),
            Verb("config", "Print the merged manifest", "paictl.cli.config"),
            Verb("explain", "Document a field of the manifest", "paictl.cli.explain"),
            Verb("schema", "Print the JSON Schema, for editors", "paictl.cli.schema"),
            Verb("migrate", "Rewrite an older manifest to the current version", "paictl.cli.migrate"),
        ),
    ),
    (
        "Make it true",
        (
            Verb("plan", "Show what apply would do; writes nothing", "paictl.cli.plan"),
            Verb("apply", "Plan, ask, and carry out", "paictl.cli.apply"),
            Verb("destroy", "Remove what apply made; keeps data", "paictl.cli.destroy"),
            Verb("rollback", "Go back to an earlier release", "paictl.cli.rollback"),
            Verb("history", "List the releases", "paictl.cli.history"),
            Verb("adopt", "Take over what stands already", "paictl.cli.adopt"),
            Verb("render", "Write the driver's plain files", "paictl.cli.render"),
        ),
    ),
    (
        "Look and talk",
        (
            Verb("chat", "Talk to the agent", "paictl.cli.chat"),
            Verb("status", "Show every service, its health and address", "paictl.cli.status"),
            Verb("drift", "Compare what stands with the last release", "paictl.cli.drift"),
            Verb("verify", "Try from inside what the manifest forbids", "paictl.cli.verify"),
            Verb("logs", "Show what services wrote", "paictl.cli.logs"),
            Verb("exec", "Run a command in a service's room", "paictl.cli.exec"),
            Verb("open", "Show the agent's address", "paictl.cli.open"),
        ),
    ),
    (
        "Models and secrets",
        (
            Verb("lock", "Resolve models and pins into agent.lock", "paictl.cli.lock"),
            Verb("fit", "Show what this machine can run", "paictl.cli.fit"),
            Verb("models", "List and fetch the models", "paictl.cli.models"),
            Verb("secrets", "List and check the declared secrets", "paictl.cli.secrets"),
        ),
    ),
    (
        "This program",
        (
            Verb("doctor", "Find what is wrong here, and mend it", "paictl.cli.doctor"),
            Verb("completion", "Print a shell's completion script", "paictl.cli.completion"),
            Verb("version", "Print the version", "paictl.cli.version"),
        ),
    ),
)

VERBS = {verb.name: verb for _, verbs in GROUPS for verb in verbs}

ALIASES = {"diff": "plan"}
