"""Results on stdout, everything else on stderr; documents of the shapes that are documented."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import jsonschema
import pytest

from tests.cli.conftest import PAICTL, World

TEXT: dict[str, Any] = {"type": "string"}
MAYBE: dict[str, Any] = {"type": ["string", "null"]}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}


def shape(**properties: Any) -> dict[str, Any]:
    """An object that must have these; more may come, since readers ignore what they don't know."""
    return {"type": "object", "required": list(properties), "properties": properties}


def listed(item: Any) -> dict[str, Any]:
    return {"type": "array", "items": item}


FORMAT = {"const": "1"}
DIAGNOSTIC = shape(
    code=TEXT,
    severity={"enum": ["error", "warning", "info"]},
    summary=TEXT,
    file=MAYBE,
    line={"type": ["integer", "null"]},
    column={"type": ["integer", "null"]},
    help=TEXT,
)
ERROR = shape(format=FORMAT, error=shape(code=TEXT, summary=TEXT, diagnostics=listed(DIAGNOSTIC)))
SUMMARY = shape(create=COUNT, update=COUNT, replace=COUNT, delete=COUNT, unchanged=COUNT)
STEP = shape(
    id=TEXT,
    address=TEXT,
    action={"enum": ["create", "update", "replace", "delete", "run"]},
    cause=TEXT,
    changes=listed(shape(path=TEXT, before={}, after={})),
    downtime={"type": "boolean"},
    data=shape(download_bytes=COUNT, reembed=COUNT, egress=listed(TEXT), destroys={"type": "boolean"}),
)
PLAN = shape(
    format=FORMAT,
    agent=TEXT,
    target=TEXT,
    hash=TEXT,
    summary=SUMMARY,
    steps=listed(STEP),
    diagnostics=listed(DIAGNOSTIC),
    refusals=listed(shape(code=TEXT, summary=TEXT, help=TEXT)),
)
SERVICE = shape(name=TEXT, state=TEXT, healthy={"type": "boolean"}, since=MAYBE, address=TEXT, url=MAYBE)
STATUS = shape(
    format=FORMAT,
    agent=TEXT,
    target=TEXT,
    release=COUNT,
    ready={"type": "boolean"},
    url=MAYBE,
    services=listed(SERVICE),
)
EVENT = shape(
    type=TEXT,
    seq=COUNT,
    ts={"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"},
    address=TEXT,
)


def test_plan_and_status_and_drift_have_their_documented_shapes(world: World) -> None:
    jsonschema.validate(world.document("plan"), PLAN)
    assert world.run("apply", "-y").returncode == 0
    jsonschema.validate(world.document("status"), STATUS)
    world.edit("Be brief.", "Be kind.")
    plan = world.document("plan")
    jsonschema.validate(plan, PLAN)
    assert any(step["changes"] for step in plan["steps"])
    jsonschema.validate(world.document("drift"), PLAN)


@pytest.mark.parametrize("args", [("validate",), ("plan",), ("status",), ("config",), ("lock",)], ids=" ".join)
def test_errors_are_one_document_on_stderr(world: World, args: tuple[str, ...]) -> None:
    world.edit("driver: fake", "drivr: fake")
    done = world.run(*args, "-o", "json")
    assert done.returncode == 2
    assert done.stdout == ""
    error = json.loads(done.stderr)
    jsonschema.validate(error, ERROR)
    place = error["error"]["diagnostics"][0]
    assert (place["file"], place["line"]) == ("agent.yaml", 7)
    assert "driver" in place["help"]


def test_an_apply_is_a_stream_of_lines_with_the_result_last(world: World) -> None:
    done = world.run("apply", "-y", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    first, *events = [json.loads(line) for line in done.stdout.splitlines()]
    assert first == {"type": "version", "format": "1"}
    for event in events:
        jsonschema.validate(event, EVENT)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    jsonschema.validate({"format": "1", **events[0]}, PLAN)
    began = {event["address"] for event in events if event["type"] == "step-begin"}
    ended = {event["address"] for event in events if event["type"] == "step-end"}
    assert began == ended == {step["address"] for step in events[0]["steps"]}
    assert events[-1]["type"] == "result"
    assert events[-1]["ok"] is True
    assert events[-1]["release"] == 1


@pytest.mark.parametrize("trouble", ["invalid", "refused", "unhealthy"])
def test_a_stream_ends_with_the_result_also_when_it_goes_wrong(world: World, trouble: str) -> None:
    consent = ["-y"]
    if trouble == "invalid":
        world.edit("driver: fake", "drivr: fake")
    elif trouble == "refused":
        consent = []
    else:
        world.fault(terminal={"service/agent": "it crashed"})
    done = world.run("apply", "-o", "json", *consent)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0] == {"type": "version", "format": "1"}
    last = lines[-1]
    assert (last["type"], last["ok"], last["exit_code"]) == ("result", False, done.returncode)
    jsonschema.validate(last, ERROR)
    jsonschema.validate(json.loads(done.stderr), ERROR)


def test_quiet_leaves_results_and_errors_only(world: World) -> None:
    done = world.run("apply", "-y", "-q")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "release 1 stands" in done.stdout
    refused = world.run("apply", "--plan-hash", "0" * 16, "-q")
    assert refused.returncode == 4
    assert refused.stderr.startswith("error:")


def test_a_pipe_gets_one_plain_line_an_event(world: World) -> None:
    done = world.run("apply", "-y")
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stderr
    assert "service/agent: creating" in done.stderr.splitlines()
    assert [line for line in done.stderr.splitlines() if line.startswith("service/agent: created")]


@pytest.mark.parametrize(
    "args",
    [("version",), ("plan",), ("status",), ("history",), ("fit",), ("models",), ("secrets",), ("explain", "spec")],
    ids=" ".join,
)
def test_yaml_says_what_json_says(world: World, args: tuple[str, ...]) -> None:
    from ruamel.yaml import YAML

    document = world.document(*args)
    done = world.run(*args, "-o", "yaml")
    assert done.returncode == 0, done.stderr
    read = YAML(typ="safe", pure=True).load(done.stdout)
    if args == ("fit",):  # the free memory of one moment is not that of the next
        del read["hardware"], document["hardware"]
    assert read == document


def test_a_closed_pipe_is_silent_and_the_apply_goes_on(world: World) -> None:
    started = world.start("apply", "-y", "-o", "json")
    assert started.stdout is not None
    assert started.stderr is not None
    started.stdout.readline()
    started.stdout.close()
    assert started.stderr.read() == ""
    started.stderr.close()
    assert started.wait(60) == 0
    assert world.document("status")["ready"] is True


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-"])
def test_a_stream_that_is_closed_from_the_start_changes_nothing(world: World, closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{PAICTL} apply -y {closed}"],
        cwd=world.folder,
        env=world.environment(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert world.document("status")["ready"] is True


def test_a_secret_that_others_can_read_is_warned_of_in_a_sentence(world: World) -> None:
    (world.folder / "key.txt").write_text("canary")
    (world.folder / "key.txt").chmod(0o644)
    world.edit("  models:", "  secrets: {key: {from: file, file: key.txt, hosts: [127.0.0.1]}}\n  models:")
    world.edit("model: tiny", "model: tiny, secret: key")
    done = world.run("plan")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "key.txt" in line]
    assert line.startswith("warning: ")
    assert "chmod 600" in line
    assert "canary" not in done.stdout + done.stderr


def test_stdin_is_a_manifest_too(world: World) -> None:
    done = world.run("validate", "-", stdin=world.manifest.read_text())
    assert done.returncode == 0, done.stderr
    done = world.run("apply", "-f", "-", stdin=world.manifest.read_text())
    assert done.returncode == 4, "the person can't be asked on the stream that holds the manifest"
