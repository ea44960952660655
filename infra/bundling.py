"""What the functions are made of: a layer for the light ones, and everything in one zip for the runner.

Made without Docker: uv installs wheels for Lambda's Python and processor, from the hashed locks, whatever machine this
is; then what a function never reads is left away, bytecode is added, and the size is printed beside Lambda's limit.
The hash of a bundle is made from locks and sources, so that an unchanged tree is no difference to CloudFormation.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from infra.settings import Settings

__all__ = ["LIMIT_BYTES", "PYTHON", "Bundle", "CannotBundle", "interpreter", "layer", "runner"]

ROOT = Path(__file__).parents[1]
MADE = ROOT / "build/bundles"
PYTHON = "3.13"
LIMIT_BYTES = 262_144_000
"""Of a function with its layers, unzipped: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""

SERVICES = frozenset({
    "bedrock-runtime", "dynamodb", "events", "lambda", "s3", "scheduler", "secretsmanager", "sns", "sqs", "ssm", "sts",
})  # fmt: skip
"""Whose descriptions botocore keeps: those that our adapters call, and the one that agents call."""

NEVER_IMPORTED = frozenset({
    "a2wsgi", "gunicorn", "httptools", "uvicorn", "uvloop", "watchfiles", "websockets",  # servers; nobody serves here
    "flatbuffers", "magika", "onnxruntime", "protobuf",  # guess file types from content; a stub stands in for magika
    "pip", "setuptools", "wheel",
})  # fmt: skip
"""What lfx asks for, and its flows run without."""

MAGIKA = '''\
"""Stands in for magika, whose models would not fit: markitdown imports it, and asks it what a nameless file is."""


class Magika:
    """Knows nothing of any file."""

    def identify_stream(self, stream):
        """Say so, as magika does for what it does not know."""
        return _UNKNOWN


class _Unknown:
    status = "unknown"


_UNKNOWN = _Unknown()
'''

UNREAD = (
    *("**/tests", "**/test", "**/*.pyi", "**/*.h", "**/*.hpp", "**/*.pxd", "**/*.pyx", "**/*.c", "**/*.cpp"),
    *("bin", "*.dist-info/RECORD", "*.dist-info/REQUESTED"),
    "zstandard/_cffi.*",  # a second backend; the first serves
    "sqlalchemy/cyextension",  # speed for databases, of which a flow has none of ours; SQLAlchemy does without
    *("PIL/_avif.*", "pillow.libs/libavif-*"),  # one image format out of thirty
    "aws_lambda_powertools/event_handler/openapi/swagger_ui/*.js",  # a page that nobody is shown
    "aws_lambda_powertools/event_handler/openapi/swagger_ui/*.css",
)
"""What is in wheels, and never read on Lambda."""

READS_ITS_SOURCES = ("lfx",)
"""Langflow's components are loaded from their sources, so bytecode can't stand in for them."""


class CannotBundle(Exception):
    """A bundle can't be made, with what to do about it."""


@dataclass(frozen=True)
class Bundle:
    """One asset: packages from a lock, our own library, and the folders of the user."""

    name: str
    lock: Path
    architecture: str
    root: str = ""
    """The folder within the asset that Python finds packages in; `python` for a layer."""
    leave_out: frozenset[str] = frozenset()
    requirements: Path | None = None
    folders: Sequence[Path] = field(default=())
    sources: Sequence[tuple[Path, str]] = field(default=())
    """More files of ours, and where they go."""
    whole: bool = False
    """Whether botocore keeps every service."""
    bytecode_only: bool = False
    """Whether third-party packages go without their sources, which for lfx saves a sixth, and half the import time."""

    @cached_property
    def digest(self) -> str:
        """The hash of everything that the bundle is made from."""
        made_from = hashlib.sha256()
        described = [self.name, self.architecture, self.root, sorted(self.leave_out), self.whole, self.bytecode_only]
        made_from.update(repr([*described, bool(interpreter()), PYTHON, _release()]).encode())
        for path, name in self._inputs():
            made_from.update(f"\0{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
        return made_from.hexdigest()

    def _inputs(self) -> Iterator[tuple[Path, str]]:
        yield Path(__file__), "bundling"
        yield self.lock, "lock"
        if self.requirements:
            yield self.requirements, "requirements"
        yield from self._ours()

    def _ours(self) -> Iterator[tuple[Path, str]]:
        """Each file that is not installed, and where it goes."""
        library = ROOT / "layers/overnight"
        for path in _files(library / "overnight"):
            name = path.relative_to(library).as_posix()
            if not name.startswith(("overnight/cli/", "overnight/embedded/")):
                yield path, name
        yield from self.sources
        for folder in self.folders:
            for path in _files(folder):
                yield path, f"agents/{path.relative_to(folder).as_posix()}"

    def made(self) -> Path:
        """Where the bundle lies; it is made unless it is there, and weighed. Raises CannotBundle."""
        bundle = MADE / f"{self.name}-{self.architecture}-{self.digest[:16]}"
        if not bundle.is_dir():
            MADE.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=MADE, prefix="making-") as folder:
                making = Path(folder) / "bundle"
                making.mkdir()
                self.make(making)
                for older in MADE.glob(f"{self.name}-{self.architecture}-*"):
                    shutil.rmtree(older)
                making.rename(bundle)  # as the last thing, so that what was interrupted is never taken for a bundle
        self.weigh(bundle)
        return bundle

    def make(self, asset: Path) -> None:
        """Make the bundle in an empty folder. Raises CannotBundle."""
        target = asset / self.root
        self._install(target)
        _leave_away(target, self.whole)
        if "magika" in self.leave_out:
            (target / "magika.py").write_text(MAGIKA, encoding="utf-8")
        if self.bytecode_only:
            _compile(target, instead_of_sources=True)
        self._copy_ours(target)
        _compile(target, instead_of_sources=False)

    def stage(self, context: Path) -> None:
        """Lay out what a container image is built from, in an empty folder: the locks, and `app`, all that is ours."""
        shutil.copyfile(self.lock, context / "lock.txt")
        wanted = self.requirements.read_text(encoding="utf-8") if self.requirements else ""
        (context / "requirements.txt").write_text(wanted, encoding="utf-8")
        self._copy_ours(context / "app")

    def _copy_ours(self, target: Path) -> None:
        for path, name in self._ours():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / name)
        metadata = target / f"overnight-{_release()}.dist-info/METADATA"
        metadata.parent.mkdir(parents=True)
        metadata.write_text(f"Metadata-Version: 2.1\nName: overnight\nVersion: {_release()}\n", encoding="utf-8")

    def _install(self, target: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            lock = Path(folder) / "lock.txt"
            lock.write_text(_without(self.lock.read_text(encoding="utf-8"), self.leave_out), encoding="utf-8")
            self._uv(target, "--require-hashes", "--no-deps", "--requirements", str(lock))
            if self.requirements:
                self._uv(target, "--requirements", str(self.requirements), "--constraints", str(lock))

    def _uv(self, target: Path, *arguments: str) -> None:
        platform = {"arm64": "aarch64-manylinux_2_28", "x86_64": "x86_64-manylinux_2_28"}[self.architecture]
        command = [
            *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(target)),
            *("--python", sys.executable, "--python-version", PYTHON, "--python-platform", platform),
            *("--only-binary", ":all:", "--no-compile-bytecode", "--link-mode", "copy", *arguments),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
        if done.returncode:
            raise CannotBundle(f"uv could not install the packages of {self.name}:\n{done.stderr.strip()}")

    def weigh(self, asset: Path) -> None:
        """Say how large it is. Raises CannotBundle when that is too much for Lambda."""
        size = sum(path.stat().st_size for path in asset.rglob("*") if path.is_file())
        headroom = LIMIT_BYTES - size
        told = (
            f"{self.name} ({self.architecture}): {size:,} bytes; Lambda's limit of {LIMIT_BYTES:,} leaves {headroom:,}"
        )
        if headroom < 0:
            raise CannotBundle(
                f"{self.name} ({self.architecture}) is {-headroom:,} bytes too large for a zip of Lambda's: leave "
                "packages away, or build a container image instead (context runner_package=image)"
            )
        print(told, file=sys.stderr)


def layer(settings: Settings) -> Bundle:
    """What the light functions have in common."""
    return Bundle("layer", ROOT / "requirements/layer.txt", settings.architecture, root="python")


def runner(settings: Settings) -> Bundle:
    """Everything that the runner has; it takes no layer, so no module comes from two places."""
    wanted = settings.requirements.read_text(encoding="utf-8") if settings.requirements else ""
    return Bundle(
        "runner" if settings.langflow else "small-runner",
        ROOT / "requirements" / ("runner.txt" if settings.langflow else "layer.txt"),
        settings.architecture,
        leave_out=NEVER_IMPORTED if settings.langflow else frozenset(),
        requirements=settings.requirements,
        folders=settings.folders,
        sources=[(ROOT / "functions/runner/handler.py", "handler.py")],
        whole=not settings.langflow or re.search(r"^boto(3|core)\b", wanted, re.MULTILINE) is not None,
        bytecode_only=settings.langflow,
    )


# Files


@cache
def _release() -> str:
    """Overnight's own version, which its functions tell."""
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return version


def _files(folder: Path) -> list[Path]:
    """Every file that somebody wrote, in a steady order."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(_is_made(part) for part in path.relative_to(folder).parts)
    )


def _is_made(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"


def _without(lock: str, names: Iterable[str]) -> str:
    """A lock without some distributions."""
    blocks = re.split(r"\n(?=[a-z0-9])", lock)
    return "\n".join(block for block in blocks if block.partition("==")[0] not in set(names))


def _leave_away(target: Path, whole: bool) -> None:
    """Remove what no function reads."""
    for pattern in UNREAD:
        for path in list(target.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    data = target / "botocore/data"
    if not whole and data.is_dir():
        for service in data.iterdir():
            if service.is_dir() and service.name not in SERVICES:
                shutil.rmtree(service)


# Bytecode


@cache
def interpreter() -> str | None:
    """A Python whose bytecode Lambda's Python reads, if there is one here: this one, or one on the path or of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [sys.executable, shutil.which(f"python{PYTHON}")]
    found += map(str, sorted(pyenv.glob(f"versions/{PYTHON}.*/bin/python{PYTHON}"), reverse=True))
    return next((each for each in found if each and _version(each) == PYTHON), None)


def _version(python: str) -> str:
    """Only running it tells: pyenv has a shim for each version that some environment has."""
    command = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 - our own


def _compile(folder: Path, *, instead_of_sources: bool) -> None:
    """Add bytecode, which Lambda could not keep; it never looks at the sources' times, which a zip does not keep."""
    compiler = interpreter()
    if compiler is None:
        return
    command = [compiler, "-m", "compileall", "-qq", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(folder), str(folder)]
    if instead_of_sources:
        command += ["-b", "-x", rf"^{re.escape(str(folder))}/({'|'.join(READS_ITS_SOURCES)})/"]
    # Some packages ship templates that are no Python, so it may fail.
    subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own command
    if instead_of_sources:
        for source in folder.rglob("*.py"):
            if source.with_suffix(".pyc").exists():
                source.unlink()
