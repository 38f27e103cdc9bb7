"""Model servers and orchestration engines of others, as data and as the Compose file that runs them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paictl.blueprint.compile import Resolved, compile_blueprint
from paictl.blueprint.engines.served import LONGEST_ANSWER, PORT, ROOT
from paictl.blueprint.images import PUBLISHED, image_reference
from paictl.blueprint.types import Blueprint, Service
from paictl.cli.drivers import rendered
from paictl.errors import Unavailable
from paictl.manifest.lock import LockedFile, LockedModel
from paictl.render import containers
from paictl.runtime.config import LlamaServerConfig
from tests.blueprint.manifests import CHAT, RESOLVED, manifest
from tests.render.test_docker_files import compose, weaknesses

MLC = "  images: {mlc-llm: local/mlc-llm:1}\n"
LLAMA = "  images: {llama.cpp: local/llama.cpp:1}\n"


def _file(name: str, size: int = 1) -> LockedFile:
    return LockedFile(f"file:///m/{name}", "d" * 64, size, name)


def _folder(engine: str, *names: str) -> LockedModel:
    parts = {name: _file(name) for name in ("config.json", *names)}
    return LockedModel(_file("model.safetensors", 9), "folder", engine, 4096, memory=6 << 30, parts=parts)


# What the manifest says beside the model itself, and what the model was resolved to.
ENGINES: dict[str, tuple[str, str, LockedModel]] = {
    "llama.cpp": (LLAMA, "task: chat", replace(CHAT, memory=500 << 20)),
    "ollama": ("", "task: chat, engine: ollama", replace(CHAT, engine="ollama", memory=500 << 20)),
    "vllm": ("", "task: chat, engine: vllm, gpu: nvidia", _folder("vllm")),
    "mlc-llm": (MLC, "task: chat, engine: mlc-llm, gpu: nvidia", _folder("mlc-llm", "lib.so")),
    "whisper.cpp": (
        "",
        "task: transcribe, engine: whisper.cpp",
        LockedModel(_file("ggml-base.bin"), "ggml", "whisper.cpp", 0, memory=300 << 20),
    ),
}
every_engine = pytest.mark.parametrize("engine", ENGINES)


def blueprint(folder: Path, engine: str, extra: str = "", **resolved: Any) -> Blueprint:
    """A model ``it`` on that engine, with nothing else than what every agent has."""
    images, model, locked = ENGINES[engine]
    text = f'{images}  models: {{it: {{{model}, source: "file:///m/x"{extra}}}}}\n'
    return compile_blueprint(
        manifest(folder, text), Resolved(RESOLVED.runtime, models={"it": locked}, threads=3, **resolved)
    )


def command(service: Service) -> str:
    assert service.upstream is not None
    return " ".join(service.upstream.command)


@every_engine
def test_a_server_of_others_runs_from_its_image_on_a_port_that_only_the_gateway_reaches(
    engine: str, tmp_path: Path
) -> None:
    found = blueprint(tmp_path, engine)
    service = found.service("model-it")
    assert service.upstream is not None
    assert service.module == ""
    assert [(one.name, one.port, one.public) for one in service.endpoints] == [("http", PORT, False)]
    assert service.room
    assert not service.egress
    assert [one.name for one in found.services if "model-it/http" in one.reaches] == ["gateway"]


@every_engine
def test_it_is_told_its_port_and_its_model_and_how_it_is_well(engine: str, tmp_path: Path) -> None:
    service = blueprint(tmp_path, engine).service("model-it")
    upstream = service.upstream
    assert upstream is not None
    told = [*upstream.command, *upstream.environment.values(), str(service.config.content)]
    assert any(str(PORT) in one for one in told)
    assert any(f"{ROOT}/models/it" in one for one in told)
    assert str(PORT) in " ".join(upstream.healthy)
    assert upstream.uid != 0
    assert service.limits.memory > 0


@every_engine
def test_what_it_keeps_can_be_made_again_so_no_data_is_in_it(engine: str, tmp_path: Path) -> None:
    assert not blueprint(tmp_path, engine).service("model-it").holds_data


@every_engine
def test_the_rendered_file_hardens_it_like_everything_else(engine: str, tmp_path: Path) -> None:
    document = compose(blueprint(tmp_path, engine))
    assert weaknesses(document) == []
    server = document["services"]["model-it"]
    assert server["image"] == image_reference(manifest(tmp_path, ENGINES[engine][0]), _image(engine))
    assert server["healthcheck"]["test"][0] == "CMD"
    assert server["networks"] == ["to-model-it"]
    assert document["networks"]["to-model-it"]["internal"] is True
    mounted = {mount["target"]: mount.get("read_only", False) for mount in server["volumes"]}
    assert mounted[f"{ROOT}/models/it"] is True


def _image(engine: str) -> str:
    return "whisper" if engine == "whisper.cpp" else engine


@every_engine
def test_every_file_of_the_model_is_there_for_it(engine: str, tmp_path: Path) -> None:
    found = blueprint(tmp_path, engine)
    assert set(found.service("model-it").weights) == {one.name for one in found.weights}
    assert len({one.name for one in found.weights}) == len(found.weights)
    assert all(one.path.startswith("models/it/") for one in found.weights)


@every_engine
def test_no_variable_is_a_secret_and_none_lets_it_fetch_anything(engine: str, tmp_path: Path) -> None:
    service = blueprint(tmp_path, engine).service("model-it")
    assert service.upstream is not None
    assert service.secrets == ()
    assert not [name for name in service.upstream.environment if name.endswith(("TOKEN", "KEY", "PASSWORD"))]


def test_the_root_in_containers_is_the_renderers_and_the_longest_answer_our_own_servers() -> None:
    assert ROOT == containers.ROOT
    assert LlamaServerConfig(listen="", model="", alias="").max_tokens == LONGEST_ANSWER


def test_llama_cpp_is_our_own_server_unless_an_image_of_it_is_named(tmp_path: Path) -> None:
    own = compile_blueprint(
        manifest(tmp_path, '  models: {it: {task: chat, source: "file:///m/x"}}\n'),
        Resolved(RESOLVED.runtime, models={"it": CHAT}),
    )
    assert own.service("model-it").upstream is None
    assert own.service("model-it").module == "paictl.runtime.engines.llamacpp"
    assert blueprint(tmp_path, "llama.cpp").service("model-it").upstream is not None


def test_where_no_images_run_an_image_that_is_named_means_nothing(tmp_path: Path) -> None:
    assert blueprint(tmp_path, "llama.cpp", containers=False).service("model-it").upstream is None


def test_llama_cpp_is_told_the_context_the_threads_and_the_name(tmp_path: Path) -> None:
    told = command(blueprint(tmp_path, "llama.cpp", ", context: 4k").service("model-it"))
    for part in ("--alias it", "--ctx-size 4096", "--threads 3", "--parallel 1", f"-n {LONGEST_ANSWER}", "--jinja"):
        assert part in told
    assert "-m /srv/paictl/models/it/chat.gguf" in told
    assert "gpu" not in told


def test_a_graphics_card_makes_llama_cpp_the_published_server_for_cards(tmp_path: Path) -> None:
    text = '  models: {it: {task: chat, source: "file:///m/x", gpu: nvidia}}\n'
    found = compile_blueprint(manifest(tmp_path, text), Resolved(RESOLVED.runtime, models={"it": CHAT}))
    service = found.service("model-it")
    assert service.upstream is not None
    assert service.gpus == "nvidia"
    assert service.upstream.reference == "ghcr.io/ggml-org/llama.cpp:server-cuda"
    assert "--n-gpu-layers" in service.upstream.command
    [device] = compose(found)["services"]["model-it"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}


def test_without_a_card_nothing_asks_for_one(tmp_path: Path) -> None:
    assert "deploy" not in compose(blueprint(tmp_path, "ollama"))["services"]["model-it"]


def test_ollama_takes_in_the_file_that_paictl_brought(tmp_path: Path) -> None:
    service = blueprint(tmp_path, "ollama").service("model-it")
    assert service.upstream is not None
    assert service.config.path == "config/model-it/Modelfile"
    assert isinstance(service.config.content, str)
    assert service.config.content.startswith("FROM /srv/paictl/models/it/chat.gguf\n")
    assert f"PARAMETER num_predict {LONGEST_ANSWER}\n" in service.config.content
    [volume] = service.volumes
    assert service.upstream.environment["OLLAMA_MODELS"] == f"{ROOT}/{volume.path}/models"
    assert service.upstream.command[-2:] == (f"{ROOT}/{service.config.path}", "it")


def test_vllm_serves_the_folder_under_the_models_name(tmp_path: Path) -> None:
    told = command(blueprint(tmp_path, "vllm").service("model-it"))
    assert told.startswith("serve /srv/paictl/models/it --served-model-name it ")
    assert "--max-model-len 4096" in told


@pytest.mark.parametrize("compiled", [True, False])
def test_mlc_llm_uses_the_library_that_was_compiled_before(compiled: bool, tmp_path: Path) -> None:
    locked = _folder("mlc-llm", *(["lib.so"] if compiled else []))
    text = MLC + '  models: {it: {task: chat, engine: mlc-llm, gpu: nvidia, source: "file:///m/x"}}\n'
    found = compile_blueprint(manifest(tmp_path, text), Resolved(RESOLVED.runtime, models={"it": locked}))
    assert ("--model-lib /srv/paictl/models/it/lib.so" in command(found.service("model-it"))) is compiled


def test_an_image_that_nobody_publishes_has_to_be_named(tmp_path: Path) -> None:
    assert "mlc-llm" not in PUBLISHED
    with pytest.raises(Unavailable, match="nobody publishes an image of mlc-llm"):
        image_reference(manifest(tmp_path), "mlc-llm")


def test_an_engine_that_nothing_serves_is_not_served_by_another(tmp_path: Path) -> None:
    text = '  models: {it: {task: transcribe, engine: faster-whisper, source: "file:///m/x"}}\n'
    locked = LockedModel(_file("x"), "", "faster-whisper", 0)
    with pytest.raises(Unavailable, match="faster-whisper"):
        compile_blueprint(manifest(tmp_path, text), Resolved(RESOLVED.runtime, models={"it": locked}))


def test_the_lock_decides_which_image_runs(tmp_path: Path) -> None:
    exact = "local/llama.cpp@sha256:" + "e" * 64
    service = blueprint(tmp_path, "llama.cpp", images={"llama.cpp": exact}).service("model-it")
    assert service.upstream is not None
    assert service.upstream.reference == exact


def test_another_image_changes_the_services_that_run_it_and_no_other(tmp_path: Path) -> None:
    before, after = (blueprint(tmp_path, "llama.cpp", images={"llama.cpp": f"x@sha256:{digit * 64}"}) for digit in "12")
    assert [one.name for one in before.services if one != after.service(one.name)] == ["model-it"]


def test_a_registry_takes_the_place_of_the_published_images_host(tmp_path: Path) -> None:
    text = "  images: {registry: registry.example.org/mirror/, base: local/base:1}\n"
    found = manifest(tmp_path, text)
    assert image_reference(found, "ollama") == "registry.example.org/mirror/ollama/ollama:latest"
    assert image_reference(found, "base") == "local/base:1"


@pytest.mark.parametrize("engine", ["temporal", "n8n"])
def test_an_orchestration_engine_stands_behind_the_gateway_and_keeps_its_data(engine: str, tmp_path: Path) -> None:
    found = compile_blueprint(
        manifest(tmp_path, f"  orchestration: {{engine: {engine}}}\n"), Resolved(RESOLVED.runtime)
    )
    service = found.service(engine)
    assert service.upstream is not None
    assert service.holds_data
    assert service.upstream.uid == 1000
    assert [one.name for one in found.services if f"{engine}/http" in one.reaches] == ["gateway"]
    document = compose(found)
    assert weaknesses(document) == []
    assert document["services"][engine]["networks"] == [f"to-{engine}"]
    assert "ports" not in document["services"][engine]


def test_an_orchestration_engine_that_exists_already_is_not_run_again(tmp_path: Path) -> None:
    text = '  orchestration: {engine: temporal, manage: external, url: "https://t.example:7233"}\n'
    found = compile_blueprint(manifest(tmp_path, text), Resolved(RESOLVED.runtime))
    assert [one.name for one in found.services] == ["gateway", "agent"]


@pytest.mark.parametrize("driver", ["native", "ansible"])
def test_files_that_would_leave_software_of_others_out_are_not_written(driver: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="model-it: software of others"):
        rendered(driver, blueprint(tmp_path, "ollama"))
    assert "compose.yaml" in rendered("docker", blueprint(tmp_path, "ollama"))
    assert "README.md" in rendered("kubernetes", blueprint(tmp_path, "ollama"))
