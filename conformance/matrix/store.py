"""Environments, the cheap way: one folder per package release, shared by all pairs, over the environment of this process.

A pair is a few of these folders on the path of a process: torch, pytest, Hypothesis and this suite come from here, and so
does every other package whose release fits. Nothing is ever installed into this environment.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import sysconfig
import tempfile
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

import msgspec
import platformdirs
from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import canonicalize_name

from conformance.core.errors import UserError
from conformance.core.pair import AXES, Pair
from conformance.matrix import uv
from conformance.matrix.process import import_problem

FROM_HERE = ("torch",)
"""Never resolved, never installed: what lies here serves every pair."""


class Admission(Struct, frozen=True, kw_only=True):
    """Whether a pair can exist over the environment ``base``: the folders it is made of, or ``why`` not."""

    base: str
    packages: tuple[str, ...] = ()
    why: str = ""


def default_folder() -> Path:
    """Where caches are kept on this system."""
    return platformdirs.user_cache_path("peft-conformance", appauthor=False, opinion=False)


class Store:
    """The folders, and what is known of each pair. Opened before anything is built: raises if it cannot be written."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = writable(folder or default_folder(), "store")
        tagged = self.folder / f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"
        self.packages, self.pairs = tagged / "packages", tagged / "pairs"
        self.packages.mkdir(parents=True, exist_ok=True)
        self.pairs.mkdir(exist_ok=True)

    def known(self, pair: Pair) -> Admission | None:
        """What was found of ``pair`` before, over this very environment."""
        try:
            admission = msgspec.json.decode(self._record(pair).read_bytes(), type=Admission)
        except (OSError, msgspec.MsgspecError):
            return None
        complete = all((self.packages / name).is_dir() for name in admission.packages)
        return admission if complete and admission.base == base_digest() else None

    def admit(self, pair: Pair) -> Admission:
        """Resolve, install and import ``pair``, unless that was done before. Raises :class:`uv.Unreachable`."""
        admission = self.known(pair)
        if admission is None:
            try:
                admission = self._build(pair)
            except uv.Unsolvable as error:  # until the index has what is missing: not worth remembering
                return Admission(base=base_digest(), why=f"cannot be resolved: {error}")
            self._record(pair).write_bytes(msgspec.json.encode(admission))
        return admission

    def paths(self, admission: Admission) -> list[str]:
        """What comes first on the path of a process that is to see the pair."""
        return [str(self.packages / name) for name in admission.packages]

    def _build(self, pair: Pair) -> Admission:
        packages = tuple(self._install(*pin) for pin in lock(pair))
        admission = Admission(base=base_digest(), packages=packages)
        why = import_problem(self.paths(admission))
        return replace(admission, why=f"cannot be imported: {why}") if why else admission

    def _install(self, name: str, release: str) -> str:
        """The folder of one package release, made in another place first, so that it is whole or not there."""
        target = self.packages / f"{name}-{release}"
        if not target.is_dir():
            fresh = Path(tempfile.mkdtemp(prefix=".", dir=self.packages))
            try:
                arguments = ("--no-deps", "--only-binary", ":all:", "--python", sys.executable)
                uv.run_uv("pip", "install", *arguments, "--target", str(fresh), f"{name}=={release}")
                fresh.chmod(0o755)
                fresh.rename(target)
            except OSError:
                if not target.is_dir():  # else somebody else was faster
                    raise
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
        return target.name

    def _record(self, pair: Pair) -> Path:
        return self.pairs / f"{pair.name}.json"


def lock(pair: Pair) -> list[tuple[str, str]]:
    """The packages with releases that ``pair`` needs beside what lies here; the pair itself always.

    uv keeps to the releases that lie here wherever they fit. Raises :class:`uv.Unsolvable`.
    """
    here = installed()
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        preferred, never = Path(folder) / "preferred.txt", Path(folder) / "never.txt"
        preferred.write_text("".join(f"{name}=={release}\n" for name, release in here.items() if name not in AXES))
        never.write_text("".join(f"{name}; python_version < '0'\n" for name in FROM_HERE))
        arguments = ("--no-header", "--no-annotate", "--only-binary", ":all:", "--python", sys.executable)
        files = ("--overrides", str(never), "--output-file", str(preferred), "-")
        wanted = "".join(f"{axis}=={pair.on(axis)}\n" for axis in AXES)
        uv.run_uv("pip", "compile", *arguments, "--prerelease", "if-necessary-or-explicit", *files, stdin=wanted)
        pins = [line.partition(";")[0].strip().partition("==") for line in preferred.read_text().splitlines()]
    return [(name, release) for name, _, release in pins if name in AXES or here.get(name) != release]


@cache
def installed() -> dict[str, str]:
    """What lies here, by normalised name; the first on the path counts."""
    packages: dict[str, str] = {}
    for each in distributions():
        name = each.metadata["Name"]
        if name:
            packages.setdefault(canonicalize_name(name), each.version)
    return packages


@cache
def base_digest() -> str:
    """What the environment of this process is, in twelve hexadecimal digits."""
    lines = [sys.version, *(f"{name}=={release}" for name, release in sorted(installed().items()))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def writable(folder: Path, what: str) -> Path:
    """``folder``, absolute, made if need be. Raises :class:`~conformance.core.errors.UserError` if it cannot be written."""
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(
            f"unwritable-{what}",
            f"{folder} cannot be written: {error.strerror}",
            "folders are tried before anything runs, so that nothing is lost",
            "give a folder that you may write to",
        ) from error
    return folder
