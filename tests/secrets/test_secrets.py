from __future__ import annotations

import sys
import traceback
import warnings
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pyrage
import pytest

from paictl.secrets import SecretError, SecretReference, SecretWarning, fingerprint, read

_CANARY = "canary-8c1f"


class _InMemory(keyring.backend.KeyringBackend):
    priority = 1

    def __init__(self) -> None:
        self.entries = {("paictl", "bucket"): _CANARY}

    def get_password(self, service: str, username: str) -> str | None:
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.entries[service, username]


def _fails(reference: SecretReference, env: dict[str, str] | None = None, timeout: float = 30.0) -> SecretError:
    with pytest.raises(SecretError) as raised:
        read(reference, env or {}, timeout=timeout)
    shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value) + raised.value.help
    assert _CANARY not in shown
    assert raised.value.help
    return raised.value


class _Failing(_InMemory):
    def get_password(self, service: str, username: str) -> str | None:
        raise keyring.errors.NoKeyringError(_CANARY)


@pytest.fixture
def identity(tmp_path: Path) -> pyrage.x25519.Identity:
    made = pyrage.x25519.Identity.generate()
    file = tmp_path / "age.key"
    file.write_text(f"# created: today\n# public key: {made.to_public()}\n{made}\n")
    file.chmod(0o600)
    return made


def _encrypt(path: Path, text: str, identity: pyrage.x25519.Identity) -> None:
    path.write_bytes(pyrage.encrypt(text.encode(), [identity.to_public()]))


def _age(folder: Path, key: str = "zotero", **more: str) -> SecretReference:
    return SecretReference(
        "zotero", "age", file="secrets.age", key=key, identity=more.get("identity", "age.key"), folder=folder
    )


def test_a_secret_is_read_from_the_environment() -> None:
    assert read(SecretReference("k", "env", entry="KEY"), {"KEY": _CANARY}) == _CANARY.encode()
    assert "KEY" in _fails(SecretReference("k", "env", entry="KEY"), {"OTHER": _CANARY}).summary
    assert "empty" in _fails(SecretReference("k", "env", entry="KEY"), {"KEY": ""}).summary


def test_a_secret_is_read_from_a_file_without_its_last_line_end(tmp_path: Path) -> None:
    file = tmp_path / "key.txt"
    file.write_bytes(b"line\n" + _CANARY.encode() + b"\r\n")
    file.chmod(0o600)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(SecretReference("k", "file", file="key.txt", folder=tmp_path), {}) == b"line\n" + _CANARY.encode()


def test_a_file_that_others_may_read_is_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "key.txt"
    file.write_text(_CANARY)
    file.chmod(0o640)
    with pytest.warns(SecretWarning, match="chmod 600"):
        assert read(SecretReference("k", "file", file=str(file)), {}) == _CANARY.encode()


def test_a_missing_file_is_told_with_its_place(tmp_path: Path) -> None:
    assert str(tmp_path / "no.txt") in _fails(SecretReference("k", "file", file="no.txt", folder=tmp_path)).summary


def test_a_key_is_picked_from_a_file_encrypted_with_age(tmp_path: Path, identity: pyrage.x25519.Identity) -> None:
    _encrypt(tmp_path / "secrets.age", f"zotero: {_CANARY}\nother: 5\n", identity)
    assert read(_age(tmp_path), {}) == _CANARY.encode()
    assert read(_age(tmp_path, "other"), {}) == b"5"


def test_the_identity_lies_in_the_configuration_unless_told_otherwise(
    tmp_path: Path, identity: pyrage.x25519.Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    home = tmp_path / "config" / "paictl"
    home.mkdir(parents=True)
    (tmp_path / "age.key").rename(home / "age.key")
    _encrypt(tmp_path / "secrets.age", f"zotero: {_CANARY}\n", identity)
    assert read(_age(tmp_path, identity=""), {}) == _CANARY.encode()


def test_a_secret_of_many_lines_survives_age(tmp_path: Path, identity: pyrage.x25519.Identity) -> None:
    _encrypt(tmp_path / "secrets.age", "zotero: |\n  one\n  two\n", identity)
    assert read(_age(tmp_path), {}) == b"one\ntwo\n"


def test_what_age_can_not_open_is_told_without_the_content(tmp_path: Path, identity: pyrage.x25519.Identity) -> None:
    _encrypt(tmp_path / "secrets.age", f"zotero: {_CANARY}\n", pyrage.x25519.Identity.generate())
    assert "can't be decrypted" in _fails(_age(tmp_path)).summary
    _encrypt(tmp_path / "secrets.age", f"zotero: {_CANARY}\n", identity)
    assert "no key `ztero`" in _fails(_age(tmp_path, "ztero")).summary
    _encrypt(tmp_path / "secrets.age", f"{_CANARY}: [", identity)
    assert "does not hold a mapping" in _fails(_age(tmp_path)).summary
    _encrypt(tmp_path / "secrets.age", _CANARY, identity)
    assert "does not hold a mapping" in _fails(_age(tmp_path)).summary
    (tmp_path / "secrets.age").write_text(f"zotero: {_CANARY}")
    assert "can't be decrypted" in _fails(_age(tmp_path)).summary
    (tmp_path / "age.key").write_text(_CANARY)
    assert "which is none" in _fails(_age(tmp_path)).summary


def test_a_secret_is_read_from_the_keyring() -> None:
    before = keyring.get_keyring()
    keyring.set_keyring(_InMemory())
    try:
        assert read(SecretReference("b", "keyring", service="paictl", entry="bucket"), {}) == _CANARY.encode()
        missing = _fails(SecretReference("b", "keyring", service="paictl", entry="bukcet"))
        assert missing.help == "keyring set paictl bukcet"
    finally:
        keyring.set_keyring(before)


def test_a_machine_without_a_keyring_says_so() -> None:
    before = keyring.get_keyring()
    keyring.set_keyring(_Failing())
    try:
        assert "NoKeyringError" in _fails(SecretReference("b", "keyring", service="paictl", entry="bucket")).summary
    finally:
        keyring.set_keyring(before)


def _exec(code: str, **more: str) -> SecretReference:
    return SecretReference("d", "exec", command=(sys.executable, "-c", code, *more.values()))


def test_a_secret_is_what_a_command_prints() -> None:
    assert read(_exec(f"print('{_CANARY}')"), {}) == _CANARY.encode()
    assert read(_exec("import os; print(os.environ['A'], end='')"), {"A": _CANARY}) == _CANARY.encode()


def test_no_shell_reads_the_command() -> None:
    assert read(_exec("import sys; print(sys.argv[1])", argument="$HOME; echo x `id`"), {}) == b"$HOME; echo x `id`"


def test_a_command_that_fails_is_told_without_what_it_printed(capfd: pytest.CaptureFixture[str]) -> None:
    failed = _fails(
        _exec(f"import sys; print('{_CANARY}', file=sys.stderr); print('x'); sys.exit(3)".replace(_CANARY, "' + 'c"))
    )
    assert "exited with 3" in failed.summary
    assert capfd.readouterr() == ("", "")
    assert "not found" in _fails(SecretReference("d", "exec", command=("no-such-program-here",))).summary
    assert "within 0.2 s" in _fails(_exec("import time; time.sleep(60)"), timeout=0.2).summary
    assert "empty" in _fails(_exec("pass")).summary


def test_a_clusters_secret_is_not_read_here() -> None:
    assert "cluster" in _fails(SecretReference("k", "kubernetes", entry="a", key="b")).summary


def test_a_fingerprint_changes_with_value_and_key_and_shows_neither() -> None:
    one = fingerprint(b"key", b"value")
    assert one == fingerprint(b"key", b"value")
    assert len({one, fingerprint(b"key", b"other"), fingerprint(b"yek", b"value")}) == 3
    assert len(one) == 12
    assert int(one, 16) >= 0
