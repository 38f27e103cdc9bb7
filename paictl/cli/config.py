"""``paictl config``: the manifest as it is applied, merged from all its layers."""

from __future__ import annotations

from paictl.cli.flags import Call, option, verb_command
from paictl.cli.session import load_manifest

__all__ = ["verb"]


@verb_command("config")
@option("--origins", is_flag=True, help="Behind each value, the file and line that it came from.")
def verb(call: Call, origins: bool) -> None:
    """Print the merged manifest of the target, with defaults, profiles, overlays and further files."""
    from paictl.manifest.dump import dump

    manifest = load_manifest(call)
    if call.terminal.output == "json":
        tree = manifest.agent.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"overlays"})
        found = {".".join(map(str, path)): str(place.value) for path, place in manifest.origins.places.items() if path}
        call.terminal.result({"format": "1", "manifest": tree, **({"origins": found} if origins else {})}, lambda: "")
        return
    call.terminal.write(dump(manifest, origins=origins).rstrip("\n"))
