"""``paictl schema``: the JSON Schema of the manifest, for editors and checkers."""

from __future__ import annotations

from paictl.cli.flags import Call, verb_command

__all__ = ["verb"]


@verb_command("schema", takes_file=False)
def verb(call: Call) -> None:
    """Print the manifest's JSON Schema, with which editors complete and check agent.yaml.

    Say in its first line: # yaml-language-server: $schema=agent.v1alpha1.json
    """
    from paictl.manifest.schema import schema

    document = schema()
    call.terminal.result(document, lambda: call.terminal.dump(document), raw=True)
