"""What bundles are made from, when they are made anew, and what is too large."""

from dataclasses import replace
from pathlib import Path

import pytest
from infra.bundling import Bundle, CannotBundle, layer, runner
from infra.settings import Settings

from infra import bundling

LOCK = """\
kept==1.0 \\
    --hash=sha256:aa
    # via nothing
uvloop==2.0 ; sys_platform != 'win32' \\
    --hash=sha256:bb
"""


@pytest.fixture
def ours(tmp_path) -> Bundle:
    """A bundle without packages."""
    lock = tmp_path / "lock.txt"
    lock.write_text(LOCK, encoding="utf-8")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "pulse.py").write_text("beat = 1\n", encoding="utf-8")
    return Bundle("ours", lock, "x86_64", folders=(folder,))


@pytest.fixture(autouse=True)
def without_packages(monkeypatch, tmp_path):
    monkeypatch.setattr(Bundle, "_install", lambda self, target: (target / "package").mkdir(parents=True))
    monkeypatch.setattr(bundling, "MADE", tmp_path / "made")


def test_the_same_tree_has_the_same_digest(ours):
    assert replace(ours).digest == ours.digest


@pytest.mark.parametrize("change", ["lock", "source", "architecture", "requirements"])
def test_whatever_goes_in_changes_the_digest(ours, change, tmp_path):
    before = ours.digest
    match change:
        case "lock":
            ours.lock.write_text(LOCK + "more==1.0\n", encoding="utf-8")
        case "source":
            (ours.folders[0] / "pulse.py").write_text("beat = 2\n", encoding="utf-8")
        case "architecture":
            ours = replace(ours, architecture="arm64")
        case "requirements":
            (tmp_path / "requirements.txt").write_text("numpy\n", encoding="utf-8")
            ours = replace(ours, requirements=tmp_path / "requirements.txt")
    assert replace(ours).digest != before


def test_what_python_leaves_behind_changes_nothing(ours):
    before = ours.digest
    (ours.folders[0] / "__pycache__").mkdir()
    (ours.folders[0] / "__pycache__/pulse.cpython-313.pyc").write_bytes(b"")
    (ours.folders[0] / ".DS_Store").write_bytes(b"")
    assert replace(ours).digest == before


def test_the_library_comes_without_command_line_and_embedded_engine(ours):
    made = ours.made()
    assert (made / "overnight/core/fire.py").is_file()
    assert (made / "agents/pulse.py").is_file()
    assert not (made / "overnight/cli").exists()
    assert not (made / "overnight/embedded").exists()


def test_a_bundle_is_made_once_and_replaces_the_one_before(ours):
    first = ours.made()
    marker = first / "marker"
    marker.touch()
    assert ours.made() == first
    assert marker.exists()
    second = replace(ours, architecture="x86_64", folders=()).made()
    assert second != first
    assert not first.exists()


def test_one_that_was_interrupted_is_never_taken_for_a_bundle(ours, monkeypatch):
    def interrupted(self: Bundle, asset: Path) -> None:
        (asset / "half").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Bundle, "make", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ours.made()
    assert not (ours.made() / "half").exists()


def test_size_and_headroom_are_told(ours, capsys):
    made = ours.made()
    size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
    told = capsys.readouterr().err
    assert f"{size:,} bytes" in told
    assert f"leaves {bundling.LIMIT_BYTES - size:,}" in told


def test_one_that_lambda_would_refuse_is_refused_here_with_advice(ours, monkeypatch):
    monkeypatch.setattr(bundling, "LIMIT_BYTES", 1_000)
    with pytest.raises(CannotBundle, match=r"too large .* runner_package=image"):
        ours.made()


def test_what_is_left_out_is_not_asked_of_uv():
    assert "uvloop" not in bundling._without(LOCK, {"uvloop"})
    assert "kept==1.0" in bundling._without(LOCK, {"uvloop"})


def test_the_runner_takes_lfx_or_is_small():
    assert runner(Settings()).lock.name == "runner.txt"
    assert runner(Settings(langflow=False)).lock == layer(Settings()).lock


def test_whoever_asks_for_boto3_gets_all_of_its_services(tmp_path):
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("pandas\nboto3\n", encoding="utf-8")
    assert not runner(Settings()).whole
    assert runner(Settings(requirements=wanted)).whole


def test_an_image_is_built_from_locks_and_sources(ours, tmp_path):
    context = tmp_path / "context"
    context.mkdir()
    ours.stage(context)
    assert (context / "lock.txt").read_text(encoding="utf-8") == LOCK
    assert (context / "requirements.txt").read_text(encoding="utf-8") == ""
    assert (context / "app/agents/pulse.py").is_file()
    assert (context / "app/overnight/aws/wiring.py").is_file()
