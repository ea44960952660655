import base64
import os
import stat
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.embedded.secrets import FileSecretStore
from overnight.errors import Invalid, NotFound, Unavailable

KEY = base64.b64encode(bytes(range(32))).decode()


def test_a_secret_is_kept_and_resolved(tmp_path):
    secrets = FileSecretStore(tmp_path, {})
    secrets.set("openai", "sk-1")
    assert secrets.resolve("secret:openai") == "sk-1"
    assert FileSecretStore(tmp_path, {}).resolve("secret:openai") == "sk-1"


def test_a_new_value_takes_the_place_of_the_old_one_also_for_who_read_before(tmp_path):
    server, cli = FileSecretStore(tmp_path, {}), FileSecretStore(tmp_path, {})
    cli.set("openai", "sk-1")
    assert server.resolve("secret:openai") == "sk-1"
    cli.set("openai", "sk-2")
    assert server.resolve("secret:openai") == "sk-2"
    cli.delete("openai")
    with pytest.raises(NotFound):
        server.resolve("secret:openai")


def test_names_are_listed_without_values(tmp_path):
    secrets = FileSecretStore(tmp_path, {})
    assert list(secrets.names()) == []
    secrets.set("b", "2")
    secrets.set("a", "1")
    assert list(secrets.names()) == ["a", "b"]


def test_deleting_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(NotFound, match="'openai'"):
        FileSecretStore(tmp_path, {}).delete("openai")


def test_a_variable_is_read_where_the_engine_runs(tmp_path):
    assert FileSecretStore(tmp_path, {"TOKEN": "t"}).resolve("env:TOKEN") == "t"


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("secret:openai", "overnight secrets set openai"),
        ("env:OPENAI_API_KEY", "overnight secrets set OPENAI_API_KEY"),
        ("env:OVERNIGHT_MASTER_KEY", "Overnight's own"),
        ("ssm:/prod/openai", "overnight secrets set NAME"),
        ("secretsmanager:openai", "on AWS only"),
        ("vault:openai", "use secret:NAME"),
    ],
)
def test_what_can_not_be_resolved_says_how_to_set_it(tmp_path, reference, says):
    with pytest.raises(NotFound, match=says):
        FileSecretStore(tmp_path, {"OVERNIGHT_MASTER_KEY": KEY}).resolve(reference)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a" * 65, "a\n", "ä", "../a"])
def test_a_name_that_is_none_is_refused(tmp_path, name):
    with pytest.raises(Invalid, match="name"):
        FileSecretStore(tmp_path, {}).set(name, "value")


def test_an_empty_value_is_refused(tmp_path):
    with pytest.raises(Invalid, match="value"):
        FileSecretStore(tmp_path, {}).set("openai", "")


@given(value=st.text(min_size=1))
def test_any_text_comes_back_as_it_is(tmp_path_factory, value):
    folder = tmp_path_factory.getbasetemp() / "any"
    FileSecretStore(folder, {"OVERNIGHT_MASTER_KEY": KEY}).set("any", value)
    assert FileSecretStore(folder, {"OVERNIGHT_MASTER_KEY": KEY}).resolve("secret:any") == value


def test_no_value_stands_readable_on_disk_and_only_the_owner_reads_the_files(tmp_path):
    secrets = FileSecretStore(tmp_path / "data", {})
    secrets.set("openai", "sk-very-secret")
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"master.key", "secrets.enc", "secrets.lock"}
    for path in files:
        assert b"sk-very-secret" not in path.read_bytes()
        assert b"openai" not in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_a_key_that_others_can_read_is_refused_with_the_command_that_mends_it(tmp_path):
    FileSecretStore(tmp_path, {})
    (tmp_path / "master.key").chmod(0o644)
    with pytest.raises(Unavailable, match=f"chmod 600 {tmp_path}"):
        FileSecretStore(tmp_path, {})


def test_the_key_can_come_from_the_environment_and_then_no_file_holds_it(tmp_path):
    secrets = FileSecretStore(tmp_path, {"OVERNIGHT_MASTER_KEY": KEY})
    secrets.set("openai", "sk-1")
    assert not (tmp_path / "master.key").exists()
    assert FileSecretStore(tmp_path, {"OVERNIGHT_MASTER_KEY": KEY}).resolve("secret:openai") == "sk-1"


@pytest.mark.parametrize("key", ["short", "=", base64.b64encode(b"x" * 31).decode(), "ä" * 44])
def test_a_master_key_that_is_none_is_refused(tmp_path, key):
    with pytest.raises(Invalid, match="OVERNIGHT_MASTER_KEY"):
        FileSecretStore(tmp_path, {"OVERNIGHT_MASTER_KEY": key})


def test_another_master_key_opens_nothing_and_overwrites_nothing(tmp_path):
    FileSecretStore(tmp_path, {}).set("openai", "sk-1")
    other = FileSecretStore(tmp_path, {"OVERNIGHT_MASTER_KEY": KEY})
    with pytest.raises(Unavailable, match="another master key"):
        other.resolve("secret:openai")
    with pytest.raises(Unavailable):
        other.set("openai", "sk-2")
    assert FileSecretStore(tmp_path, {}).resolve("secret:openai") == "sk-1"


@pytest.mark.parametrize("damage", [b"", b"overnight secrets 1\n", b"overnight secrets 1\n" + b"x" * 40, b"{}"])
def test_a_damaged_file_is_said_to_be_so(tmp_path, damage):
    secrets = FileSecretStore(tmp_path, {})
    (tmp_path / "secrets.enc").write_bytes(damage)
    with pytest.raises(Unavailable, match="damaged"):
        secrets.resolve("secret:openai")


def test_a_damaged_key_file_is_said_to_be_so(tmp_path):
    (tmp_path / "master.key").write_text("oops")
    (tmp_path / "master.key").chmod(0o600)
    with pytest.raises(Unavailable, match="restore it from a backup"):
        FileSecretStore(tmp_path, {})


def test_a_crash_while_setting_leaves_the_old_values(tmp_path, monkeypatch):
    secrets = FileSecretStore(tmp_path, {})
    secrets.set("openai", "sk-1")

    def crash(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        secrets.set("openai", "sk-2")
    monkeypatch.undo()
    assert secrets.resolve("secret:openai") == "sk-1"
    assert {path.name for path in tmp_path.iterdir()} == {"master.key", "secrets.enc", "secrets.lock"}


def test_derived_keys_are_32_bytes_steady_and_differ_by_purpose_and_deployment(tmp_path):
    secrets = FileSecretStore(tmp_path / "a", {})
    key = secrets.derive("webhook/1")
    assert len(key) == 32
    assert key == FileSecretStore(tmp_path / "a", {}).derive("webhook/1")
    assert key != secrets.derive("webhook/2")
    assert key != FileSecretStore(tmp_path / "b", {}).derive("webhook/1")


def test_many_writers_lose_nothing_of_each_other_and_agree_on_one_key(tmp_path):
    barrier = threading.Barrier(8)

    def work(n):
        barrier.wait()
        FileSecretStore(tmp_path, {}).set(f"name-{n}", str(n))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    secrets = FileSecretStore(tmp_path, {})
    assert {secrets.resolve(f"secret:name-{n}") for n in range(8)} == {str(n) for n in range(8)}
