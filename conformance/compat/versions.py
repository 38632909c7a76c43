"""Which releases are here, without importing them: what the code says of itself, not what was once installed."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from conformance.core.errors import UserError
from conformance.core.pair import AXES, Pair
from conformance.worker.environment import file_of

JUDGED = AXES
RECORDED = (*JUDGED, "torch", "accelerate", "tokenizers", "safetensors", "hypothesis", "pytest", "peft-conformance")
_WRITTEN = re.compile(r"""^__version__\s*=\s*["']([^"']+)["']""", re.MULTILINE)
OLDEST = {"peft": "0.10", "transformers": "4.38"}


@cache
def versions() -> dict[str, str]:
    """The versions of everything that can change a result, and Python's. Absent packages are left out."""
    found = {"python": platform.python_version()}
    for name in RECORDED:
        number = of_code(name) or of_metadata(name)
        if number:
            found[name] = number
    return found


def of_metadata(name: str) -> str:
    """What the metadata of the package ``name`` say; empty where there are none."""
    with suppress(PackageNotFoundError):
        return version(name)
    return ""


def of_code(name: str) -> str:
    """What the code of the package ``name`` says, of those that are judged; empty where it does not say it in so many words."""
    with suppress(OSError, UnicodeDecodeError):
        match = _WRITTEN.search(Path(file_of(name)).read_text("utf-8")) if name in JUDGED else None
        return match[1] if match else ""
    return ""


def judged() -> str:
    """``peft 0.21.2 x transformers 5.23.0``. Raises :class:`~conformance.core.errors.UserError` if one is missing."""
    return str(Pair.of(require()))


def require() -> dict[str, str]:
    """:func:`versions`, if torch, PEFT and transformers are there and in the supported range."""
    from packaging.version import Version

    found = versions()
    for name in ("torch", *JUDGED):
        if name not in found:
            raise UserError(
                "missing-package",
                f"{name} is not installed here",
                "there is nothing to judge without it",
                f"pip install {name}",
            )
    for name in JUDGED:
        _refuse_another(name)
    for name, oldest in OLDEST.items():
        if Version(found[name]) < Version(oldest):
            raise UserError(
                "unsupported-version",
                f"{name} {found[name]} is older than {oldest}",
                f"the supported range begins at {name} {oldest}",
                f"install {name}>={oldest}",
            )
    return found


def _refuse_another(name: str) -> None:
    """Raise :class:`~conformance.core.errors.UserError` if the code of ``name`` is not the release that is installed."""
    from packaging.version import Version

    code, metadata = of_code(name), of_metadata(name)
    if code and metadata and Version(code) != Version(metadata):
        raise UserError(
            "two-versions",
            f"{name} {code} would be imported, from {file_of(name)}, and {name} {metadata} is installed",
            "a verdict is about one release, and known failures are matched by it; here it would be about neither",
            f"remove one of them: look at PYTHONPATH and the working directory, or install that {name} anew",
        )


def within(package: str, spec: str) -> bool | None:
    """Whether the installed ``package`` is in the range ``spec``; ``None`` for a text that is no range."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(spec, prereleases=True).contains(versions()[package])
    except InvalidSpecifier:
        return None


def oldest_first(releases: Iterable[str]) -> list[str]:
    """The releases in their order."""
    from packaging.version import Version

    return sorted(releases, key=Version)


def is_preview(release: str) -> bool:
    """Whether it is a pre-release."""
    from packaging.version import Version

    return Version(release).is_prerelease


def newest_first(releases: Iterable[str]) -> list[str]:
    """``releases``, each once, the newest first; what is no release, such as a branch, comes before all of them."""
    from packaging.version import InvalidVersion, Version

    def age(release: str) -> tuple[bool, Version, str]:
        try:
            return False, Version(release), release
        except InvalidVersion:
            return True, Version("0"), release

    return sorted(set(releases), key=age, reverse=True)
