from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from paictl.assets import asset
from paictl.manifest.models import Agent
from paictl.manifest.profiles import DEPLOYMENT_MODELS, hardware_profiles
from paictl.manifest.shape import shape_of
from tests.manifest.conftest import SMALL, Folder

_FILES = sorted(asset("profiles").glob("*.yaml"))
_CLOUD = """\
    cloud: {task: chat, provider: openai, model: m, secret: k, classes: [CLASSES]}
  secrets: {k: {from: env, name: K, hosts: [api.openai.com]}}
"""


def test_the_profiles_of_the_design_are_there() -> None:
    names = {path.stem for path in _FILES}
    assert names >= {"edge", "private-cloud", "hybrid", "federated"}
    assert names >= {"laptop", "raspberry-pi-5", "vps", "workstation-gpu", "k3s", "kubernetes"}
    assert set(hardware_profiles()) == names - set(DEPLOYMENT_MODELS)


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_a_profile_gives_its_reasons(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert text.count("# ") >= 2


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_a_profiles_floors_are_fields_of_the_manifest(path: Path) -> None:
    floors = YAML(typ="safe", pure=True).load(path).get("floor", {})
    for floor, allowed in floors.items():
        assert shape_of(Agent).at(tuple("name" if part == "*" else part for part in floor.split("."))) is not None
        assert isinstance(allowed, list)


@pytest.mark.parametrize("model", DEPLOYMENT_MODELS)
def test_a_manifest_under_every_deployment_model_is_valid(folder: Folder, model: str) -> None:
    folder.write("agent.yaml", SMALL.replace("{target: laptop}", f"{{target: laptop, model: {model}}}"))
    assert folder.load().agent.spec.deployment.model == model


@pytest.mark.parametrize("profile", hardware_profiles())
def test_a_manifest_on_every_hardware_is_valid_and_marked_by_it(folder: Folder, profile: str) -> None:
    text = SMALL + "    embed: {task: embed, select: {}}\n    voice: {task: transcribe, select: {}}\n"
    folder.write("agent.yaml", text.replace("driver: native", f"driver: native, profile: {profile}"))
    manifest = folder.load()
    assert f"profiles/{profile}.yaml" in {place.value.file for place in manifest.origins.places.values()}


@pytest.mark.parametrize(
    ("model", "classes", "refused"),
    [
        ("edge", "public", []),
        ("edge", "public, internal", ["internal"]),
        ("edge", "private", ["private"]),
        ("private-cloud", "public, internal", []),
        ("hybrid", "internal, private", ["private"]),
        ("federated", "internal, private", ["internal", "private"]),
    ],
)
def test_no_layer_widens_what_a_profile_rules_out(folder: Folder, model: str, classes: str, refused: list[str]) -> None:
    text = SMALL.replace("{target: laptop}", f"{{target: laptop, model: {model}}}")
    folder.write("agent.yaml", text + _CLOUD.replace("CLASSES", classes))
    if not refused:
        assert folder.load().agent.spec.models["cloud"].classes
        return
    errors = folder.errors()
    assert [e.code for e in errors] == ["floor"] * len(refused)
    for error, name in zip(errors, refused, strict=True):
        assert f"`{name}`" in error.summary
        assert f"profiles/{model}.yaml:" in error.summary
        assert error.span is not None
        assert (error.span.file, error.span.line) == ("agent.yaml", 11)


def test_an_overlay_and_a_further_file_are_held_to_the_floor_too(folder: Folder) -> None:
    folder.write("agent.yaml", SMALL + _CLOUD.replace("CLASSES", "public"))
    folder.write("more.yaml", "spec:\n  models: {cloud: {classes: [private]}}\n")
    (error,) = folder.errors("agent.yaml", "more.yaml")
    assert error.span is not None
    assert (error.code, error.span.file, error.span.line) == ("floor", "more.yaml", 2)


def test_what_a_person_says_about_context_beats_the_hardwares(folder: Folder) -> None:
    text = SMALL.replace("driver: native", "driver: native, profile: raspberry-pi-5")
    folder.write("agent.yaml", text)
    assert folder.load().agent.spec.models["chat"].context == "4k"
    folder.write("agent.yaml", text.replace("select: {}", "select: {context: 8k}"))
    assert folder.load().agent.spec.models["chat"].context is None


_CLUSTER = SMALL.replace("driver: native", "driver: kubernetes, profile: k3s, cluster: CLUSTER")


def test_a_profile_says_what_its_clusters_offer_and_a_person_says_it_otherwise(folder: Folder) -> None:
    folder.write("agent.yaml", _CLUSTER.replace("CLUSTER", "{gpu: {count: 2}}"))
    cluster = folder.load().target_spec.cluster
    assert cluster is not None
    assert cluster.storage_class == "local-path"
    assert cluster.gpu is not None
    assert (cluster.gpu.runtime_class, cluster.gpu.count) == ("nvidia", 2)
    folder.write("agent.yaml", _CLUSTER.replace("CLUSTER", "{storage_class: longhorn, gpu: null}"))
    cluster = folder.load().target_spec.cluster
    assert cluster is not None
    assert (cluster.storage_class, cluster.gpu) == ("longhorn", None)


def test_a_profile_completes_a_way_in_and_never_opens_one(folder: Folder) -> None:
    folder.write("agent.yaml", _CLUSTER.replace("CLUSTER", "{}"))
    closed = folder.load().target_spec.cluster
    assert closed is not None
    assert closed.ingress is None
    folder.write("agent.yaml", _CLUSTER.replace("CLUSTER", "{ingress: {host: atlas.example.org, tls: atlas}}"))
    opened = folder.load().target_spec.cluster
    assert opened is not None
    assert opened.ingress is not None
    assert (opened.ingress.class_, opened.ingress.namespace) == ("traefik", "kube-system")
    routed = "{ingress: {kind: gateway, gateway: kube-system/g, host: atlas.example.org, tls: web}}"
    folder.write("agent.yaml", _CLUSTER.replace("CLUSTER", routed))
    cluster = folder.load().target_spec.cluster
    assert cluster is not None
    assert cluster.ingress is not None
    assert (cluster.ingress.class_, cluster.ingress.namespace) == (None, "kube-system")


def test_a_profile_of_clusters_lays_nothing_under_a_target_that_is_none(folder: Folder) -> None:
    folder.write("agent.yaml", SMALL.replace("driver: native", "driver: native, profile: k3s"))
    assert folder.load().target_spec.cluster is None


def test_a_target_that_is_not_applied_now_has_its_profile_under_it_as_well(folder: Folder) -> None:
    home = "home: {driver: kubernetes, profile: k3s, cluster: {ingress: {host: atlas.example.org, tls: atlas}}}"
    folder.write("agent.yaml", SMALL.replace("  targets:\n", f"  targets:\n    {home}\n"))
    found = folder.load()
    assert found.target == "laptop"
    cluster = found.agent.spec.targets["home"].cluster
    assert cluster is not None
    assert cluster.ingress is not None
    assert cluster.ingress.namespace == "kube-system"


_HOSTS = SMALL.replace("driver: native", "driver: ansible, profile: PROFILE, hosts: {pi: {address: pi.lan}}MORE")


def test_a_profile_says_what_its_hosts_have_and_a_person_says_it_otherwise(folder: Folder) -> None:
    folder.write("agent.yaml", _HOSTS.replace("PROFILE", "raspberry-pi-4").replace("MORE", ""))
    target = folder.load().target_spec
    assert target.machine is not None
    assert (target.machine.memory, target.machine.cores, target.machine.arch) == ("4GiB", 4, "arm64")
    assert target.system is not None
    assert (target.system.journal.keep, target.system.zram) == ("memory", 50)
    more = ", machine: {memory: 8GiB}, system: {zram: 0, timezone: Europe/Berlin}"
    folder.write("agent.yaml", _HOSTS.replace("PROFILE", "raspberry-pi-4").replace("MORE", more))
    target = folder.load().target_spec
    assert target.machine is not None
    assert (target.machine.memory, target.machine.cores) == ("8GiB", 4)
    assert target.system is not None
    assert (target.system.zram, target.system.timezone, target.system.journal.keep) == (0, "Europe/Berlin", "memory")


def test_machines_and_systems_have_no_meaning_on_drivers_without_hosts(folder: Folder) -> None:
    text = SMALL.replace("driver: native", "driver: native, machine: {memory: 4GiB, cores: 4}, system: {zram: 50}")
    folder.write("agent.yaml", text)
    assert [each.code for each in folder.errors()] == ["not-with", "not-with"]
    # What a profile would offer to hosts is simply not there.
    folder.write("agent.yaml", SMALL.replace("driver: native", "driver: native, profile: raspberry-pi-4"))
    assert folder.load().target_spec.machine is None


@pytest.mark.parametrize(
    "wrong",
    [
        "machine: {memory: 4, cores: 4}",
        "system: {timezone: 'Europe/Berlin; reboot'}",
        'system: {locale: "de_DE.UTF-8\\nrm"}',
        'system: {admins: {alice: ["ssh-ed25519 AAAA alice\\nssh-rsa BBBB eve"]}}',
        "system: {admins: {root;: []}}",
        "system: {packages: ['--force']}",
        "system: {zram: 900}",
    ],
)
def test_what_would_be_written_to_a_host_has_the_form_of_what_it_is(folder: Folder, wrong: str) -> None:
    folder.write("agent.yaml", _HOSTS.replace("PROFILE", "vps").replace("MORE", f", {wrong}"))
    assert folder.errors()
