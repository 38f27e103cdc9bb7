"""What was there before paictl is back when paictl goes, piece by piece; and what is not as it was left is seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.drivers.ansible.keeping import Keeper
from tests.drivers.ansible.stack import Shared

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(900)]

_UNIT = """[Unit]
Description=of a test
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""
# A package that needs another one; made where it is installed, since the host reaches no mirror.
_PACKAGES = """
for name in inner outer; do
  mkdir -p /tmp/$1-$name/DEBIAN /tmp/$1-$name/etc
  echo x >/tmp/$1-$name/etc/$1-$name.conf
  echo /etc/$1-$name.conf >/tmp/$1-$name/DEBIAN/conffiles
  needs=$(test $name = inner || echo "Depends: $1-inner")
  printf 'Package: %s\\nVersion: 1\\nArchitecture: all\\nMaintainer: a test\\nDescription: x\\n%s\\n' $1-$name "$needs" |
    sed '/^$/d' >/tmp/$1-$name/DEBIAN/control
  dpkg-deb --build /tmp/$1-$name /tmp/$1-$name.deb >/dev/null
done
dpkg -i /tmp/$1-inner.deb /tmp/$1-outer.deb >/dev/null
apt-mark auto $1-inner >/dev/null
rm -r /tmp/$1-*
"""


@pytest.fixture
def keeper(shared: Shared) -> Iterator[Keeper]:
    with ExitStack() as stack:
        made = Keeper(shared)
        stack.callback(
            shared.host.exec, ["sh", "-c", f"rm -rf /var/lib/paictl/.records/{made.name}.here /etc/{made.name}*; true"]
        )
        yield made


def test_each_piece_that_is_not_as_it_was_left_is_told_by_its_name(keeper: Keeper) -> None:
    name = keeper.name
    unit = f"{name}.service"
    manages = {
        "files": [f"/etc/{name}.{kind}" for kind in ("text", "mode", "gone", "link", "same")],
        "directories": [f"/etc/{name}.d"],
        "units": [unit, "cron.service"],
        "sysctl": ["net.ipv4.ip_default_ttl"],
        "nft_tables": [f"inet {name}"],
        "users": [name],
    }
    files = " ".join(f"/etc/{name}.{kind}" for kind in ("text", "mode", "gone", "same"))
    keeper.begin(manages)
    keeper.root(
        f"""
        for file in {files}; do echo as it was left >$file; done
        mkdir /etc/{name}.d; ln -s /etc/hostname /etc/{name}.link
        cat >/etc/systemd/system/{unit} <<'END'\n{_UNIT}END
        systemctl daemon-reload; systemctl enable --quiet --now {unit}
        nft 'add table inet {name}; add chain inet {name} c; add rule inet {name} c counter accept'
        useradd --system --no-create-home {name}
        """
    )
    keeper.finish(manages)
    assert keeper.drift() == {}
    keeper.root(
        f"""
        echo more >>/etc/{name}.text; chmod 600 /etc/{name}.mode; rm /etc/{name}.gone; touch /etc/{name}.same
        ln -sfn /etc/passwd /etc/{name}.link; chown daemon /etc/{name}.d
        systemctl disable --quiet --now {unit}
        echo 99 >/proc/sys/net/ipv4/ip_default_ttl
        nft 'add rule inet {name} c drop'; usermod --shell /bin/bash {name}
        """
    )
    assert keeper.drift() == {
        f"/etc/{name}.text": "changed by hand",
        f"/etc/{name}.mode": "permissions changed",
        f"/etc/{name}.gone": "gone",
        f"/etc/{name}.link": "points elsewhere",
        f"/etc/{name}.d": "owner changed",
        unit: "not enabled, not active",
        "net.ipv4.ip_default_ttl": "changed by hand",
        f"table inet {name}": "changed by hand",
        f"user {name}": "changed by hand",
    }
    keeper.remove()
    left = keeper.root(
        f"""
        ls -d /etc/{name}* 2>/dev/null || true
        nft list tables
        getent passwd {name} || true
        cat /proc/sys/net/ipv4/ip_default_ttl
        """
    )
    assert left.splitlines() == ["64"]
    assert keeper.root(f"systemctl is-active {unit} cron.service || true").splitlines() == ["inactive", "active"]
    keeper.root(f"rm /etc/systemd/system/{unit}; systemctl daemon-reload")


@pytest.mark.promise(13)
def test_the_first_who_came_found_it_and_the_last_who_goes_puts_it_back(keeper: Keeper) -> None:
    other = Keeper(keeper.shared)
    path = f"/etc/{keeper.name}.conf"
    manages = {"files": [path]}
    keeper.root(f"echo theirs >{path}; chown daemon:adm {path}; chmod 640 {path}")
    keeper.begin(manages)
    keeper.root(f"echo ours >{path}; chown root {path}")
    # A crash here, and everything once more: what we made is not what was found.
    keeper.begin(manages)
    keeper.finish(manages)
    other.begin(manages)
    other.finish(manages)
    keeper.remove()
    assert keeper.root(f"cat {path}") == "ours"
    assert other.drift() == {}
    other.remove()
    other.remove()
    assert keeper.root(f"cat {path}; stat -c '%a %U %G' {path}") == "theirs\n640 daemon adm"
    keeper.root(f"rm {path}")


@pytest.mark.promise(2)
def test_what_paictl_changes_for_one_agent_is_no_drift_to_another_and_what_a_person_changed_is(keeper: Keeper) -> None:
    other, path = Keeper(keeper.shared), f"/etc/{keeper.name}.common"
    manages = {"files": [path]}
    for one in (keeper, other):
        one.begin(manages)
        keeper.root(f"echo {one.name} >>{path}")
        one.finish(manages)
    assert keeper.drift() == {}
    keeper.root(f"echo by hand >>{path}")
    other.begin(manages)
    keeper.root(f"echo once more >>{path}")
    other.finish(manages)
    assert (other.drift(), keeper.drift()) == ({}, {path: "changed by hand"})
    keeper.begin(manages)
    keeper.finish(manages)
    assert not other.keep("leave", {}).get("failed")
    keeper.root(f"echo without the other >{path}")
    other.remove()
    assert keeper.drift() == {}
    keeper.remove()
    assert keeper.root(f"ls {path} 2>/dev/null || true") == ""


def test_what_is_no_longer_managed_goes_at_once_and_what_others_put_there_stays(keeper: Keeper) -> None:
    name = keeper.name
    both = {
        "files": [f"/etc/{name}.d/a", f"/etc/{name}.d/b"],
        "directories": [f"/etc/{name}.d"],
        "trees": [f"/srv/{name}"],
    }
    keeper.begin(both)
    keeper.root(f"mkdir -p /etc/{name}.d /srv/{name}/deep; touch /etc/{name}.d/a /etc/{name}.d/b /srv/{name}/deep/file")
    keeper.finish(both)
    only = {**both, "files": [f"/etc/{name}.d/a"]}
    keeper.begin(only)
    keeper.finish(only)
    assert keeper.root(f"ls /etc/{name}.d") == "a"
    keeper.root(f"touch /etc/{name}.d/theirs")
    keeper.remove()
    assert keeper.root(f"ls -d /etc/{name}.d/* /srv/{name} 2>/dev/null || true") == f"/etc/{name}.d/theirs"
    keeper.root(f"rm -r /etc/{name}.d")


def test_packages_that_paictl_installed_go_with_what_came_for_them_and_those_that_were_there_stay(
    keeper: Keeper,
) -> None:
    name = keeper.name
    manages = {"packages": [f"{name}-outer", "cron", "dpkg"]}
    keeper.begin(manages)
    keeper.root(f"set -- {name}\n{_PACKAGES}")
    keeper.finish(manages)
    assert keeper.drift() == {}
    keeper.root(f"dpkg --remove {name}-outer >/dev/null 2>&1")
    assert keeper.drift() == {f"package {name}-outer": "not installed"}
    keeper.root(f"set -- {name}\n{_PACKAGES}")
    keeper.remove()
    known = keeper.root(
        f"dpkg-query --show --showformat='${{Package}} ${{db:Status-Status}}\\n' | grep -e ^{name} -e ^cron -e '^dpkg '"
    )
    assert "cron installed" in known
    assert "dpkg installed" in known
    assert name not in known
    assert keeper.root(f"ls /etc/{name}* 2>/dev/null || true") == ""


def test_a_package_that_something_else_needs_by_now_stays(keeper: Keeper) -> None:
    name = keeper.name
    manages = {"packages": [f"{name}-inner"]}
    keeper.begin(manages)
    keeper.root(f"set -- {name}\n{_PACKAGES}")
    keeper.finish(manages)
    keeper.remove()
    known = keeper.root(f"dpkg-query --show --showformat='${{Package}} ' '{name}*'")
    assert known.split() == [f"{name}-inner", f"{name}-outer"]
    keeper.root(f"dpkg --purge {name}-outer {name}-inner >/dev/null 2>&1")


@pytest.mark.promise(14)
def test_what_was_only_begun_is_known_as_ours_and_is_put_back(keeper: Keeper) -> None:
    path = f"/etc/{keeper.name}.half"
    keeper.begin({"files": [path]})
    keeper.root(f"echo half >{path}")
    (record,) = keeper.look()["records"]
    assert record["begun"]
    assert record["fingerprint"] == ""
    keeper.remove()
    assert keeper.root(f"ls {path} 2>/dev/null || true") == ""
    assert keeper.look()["records"] == []


def test_a_damaged_record_is_an_error_and_never_nothing(keeper: Keeper) -> None:
    folder = f"/var/lib/paictl/.records/{keeper.name}.here"
    keeper.root(f"mkdir -p {folder}; echo '{{' >{folder}/base.it.json")
    told = keeper.look()
    assert told["failed"]
    assert f"{folder}/base.it.json can't be read" in told["msg"]


def test_a_word_that_nobody_knows_is_refused_before_anything_is_kept(keeper: Keeper) -> None:
    told = keeper.keep("begin", {"flies": ["/etc/passwd"]})
    assert "'flies', which is no such word" in told["msg"]
    assert keeper.look()["records"] == []
