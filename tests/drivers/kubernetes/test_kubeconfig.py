from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from paictl.drivers.kubernetes import kubeconfig
from paictl.drivers.kubernetes.credentials import Credentials
from paictl.drivers.kubernetes.kubeconfig import find
from paictl.drivers.kubernetes.proxies import proxy_for
from paictl.errors import Unreachable


def _file(path: Path, **parts: Any) -> Path:
    """A kubeconfig, each part of it as NAME -> content."""
    written: dict[str, Any] = {"current-context": parts.pop("current", "")}
    for kind, entries in parts.items():
        written[f"{kind}s"] = [{"name": name, kind: content} for name, content in entries.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(written), encoding="utf-8")
    return path


def _users(path: Path, user: dict[str, Any]) -> dict[str, str]:
    context = {"it": {"cluster": "it", "user": "it", "namespace": "there"}}
    _file(path, current="it", context=context, cluster={"it": {"server": "https://one.example"}}, user={"it": user})
    return {"KUBECONFIG": str(path)}


def test_of_several_files_the_first_that_has_a_name_counts_and_paths_are_meant_beside_their_file(
    tmp_path: Path,
) -> None:
    first = _file(
        tmp_path / "a" / "config",
        context={"it": {"cluster": "it", "user": "it"}},
        cluster={"it": {"server": "https://first.example/", "certificate-authority": "ca.crt"}},
    )
    second = _file(
        tmp_path / "b" / "config",
        current="it",
        context={"it": {"cluster": "none", "user": "none"}, "other": {"cluster": "it", "user": "it"}},
        cluster={"it": {"server": "https://second.example", "tls-server-name": "no"}},
        user={"it": {"tokenFile": "token"}},
    )
    (tmp_path / "a" / "ca.crt").write_bytes(b"an authority")
    (tmp_path / "empty").write_text("# nothing yet\n", encoding="utf-8")
    paths = [tmp_path / "missing", tmp_path / "empty", first, second]
    found = find(None, {"KUBECONFIG": ":".join(map(str, paths))})
    assert (found.context, found.server, found.server_name) == ("it", "https://first.example", "")
    assert found.authority == b"an authority"
    assert found.user.token_file == str(tmp_path / "b" / "token")
    assert find("other", {"KUBECONFIG": ":".join(map(str, paths))}).context == "other"
    with pytest.raises(Unreachable, match="no context 'third'"):
        find("third", {"KUBECONFIG": ":".join(map(str, paths))})


def test_a_kubeconfig_is_yaml_whose_certificates_may_be_folded(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "current-context: it\n"
        "contexts: [{name: it, context: {cluster: 7, user: it, namespace: there}}]\n"
        "clusters:\n- name: 7\n  cluster:\n    server: https://one.example:6443\n"
        "    certificate-authority-data: |\n      YW4gYXV0\n      aG9yaXR5\n"
        "users: [{name: it, user: {token: t}}]\n",
        encoding="utf-8",
    )
    found = find(None, {"KUBECONFIG": str(tmp_path / "config")})
    assert (found.authority, found.namespace, found.user.token) == (b"an authority", "there", "t")


@pytest.mark.parametrize(
    ("user", "sentence"),
    [
        ({"auth-provider": {"name": "gcp"}}, "uses an auth-provider, which Kubernetes 1.26 removed"),
        ({"as-groups": ["a"]}, "acts in groups of others, and as nobody"),
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v1"}}, "its command is missing"),
        (
            {"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1alpha1"}},
            "its apiVersion is client.authentication.k8s.io/v1alpha1",
        ),
        ({"client-key": "nowhere"}, "client-key of .* can't be read"),
        ({"client-key-data": "~"}, "client-key of .* can't be read"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_the_reason(tmp_path: Path, user: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Unreachable, match=sentence):
        find(None, _users(tmp_path / "config", user))


@pytest.mark.parametrize(
    ("plugin", "sentence", "help_"),
    [
        ({"command": "there-is-none", "installHint": "Get it.\n"}, "there-is-none, which is not installed", "Get it."),
        ({"command": "false"}, "false did not hand out credentials: exit status 1", "Log in with it again."),
        ({"command": "true"}, "what true handed out is no credential", "Log in with it again."),
        (
            {"command": "true", "interactiveMode": "Always"},
            "true wants to ask a person",
            "Log in with it on a terminal",
        ),
        (
            {"command": "echo", "args": ['{"apiVersion":"client.authentication.k8s.io/v1","status":{}}']},
            "what echo handed out is no credential",
            "",
        ),
    ],
)
def test_a_program_that_gives_no_credentials_is_named_with_what_helps(
    tmp_path: Path, plugin: dict[str, Any], sentence: str, help_: str
) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", **plugin}}
    with pytest.raises(Unreachable, match=sentence) as refused:
        Credentials(find(None, _users(tmp_path / "config", user))).headers()
    assert help_ in refused.value.help


def test_a_pod_is_known_by_its_own_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in {"token": "t", "ca.crt": "an authority", "namespace": "mine\n"}.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.setattr(kubeconfig, "_POD", tmp_path)
    around = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    found = find(None, {**around, "KUBECONFIG": str(tmp_path / "none")})
    assert (found.server, found.namespace) == ("https://[fd00::1]:6443", "mine")
    assert found.user.token_file == str(tmp_path / "token")
    with pytest.raises(Unreachable, match="no cluster is configured here"):
        find("a-context", {**around, "KUBECONFIG": str(tmp_path / "none")})


@pytest.mark.parametrize(
    ("exceptions", "server", "direct"),
    [
        ("", "https://one.example", False),
        ("", "https://localhost:6443", True),
        ("", "https://127.3.2.1", True),
        ("", "https://[::1]:6443", True),
        ("*", "https://one.example", True),
        ("one.example", "https://a.one.example", True),
        ("one.example", "https://none.example", False),
        (".one.example", "https://one.example", False),
        ("*.one.example", "https://a.one.example", True),
        ("ONE.example:6443", "https://one.example:6443", True),
        ("one.example:6443", "https://one.example", False),
        ("one.example:443", "https://one.example", True),
        ("a, 10.0.0.0/8", "https://10.9.8.7:6443", True),
        ("10.0.0.0/8", "https://11.9.8.7:6443", False),
        ("fd00::/8", "https://[fd12::1]:6443", True),
        ("[fd12::1]:6443", "https://[fd12::1]:6443", True),
        ("fd12::1", "https://[fd12::1]:6443", True),
        ("10.1", "https://10.1.2.3", False),
        ("10.0.0.0/x", "https://10.0.0.0", False),
    ],
)
def test_the_exceptions_from_a_proxy_are_those_of_kubectl(exceptions: str, server: str, *, direct: bool) -> None:
    environment = {"https_proxy": "http://p:1", "HTTP_PROXY": "http://q:1", "no_proxy": exceptions}
    assert proxy_for(urlsplit(server), environment) == ("" if direct else "http://p:1")
