"""Which releases are installed, without importing them."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from conformance.core.errors import UserError
from conformance.core.pair import AXES, Pair

JUDGED = AXES
RECORDED = (*JUDGED, "torch", "accelerate", "tokenizers", "safetensors", "hypothesis", "pytest", "peft-conformance")
OLDEST = {"peft": "0.10", "transformers": "4.38"}


@cache
def versions() -> dict[str, str]:
    """Installed versions of everything that can change a result, and Python's. Absent packages are left out."""
    found = {"python": platform.python_version()}
    for name in RECORDED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


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
    for name, oldest in OLDEST.items():
        if Version(found[name]) < Version(oldest):
            raise UserError(
                "unsupported-version",
                f"{name} {found[name]} is older than {oldest}",
                f"the supported range begins at {name} {oldest}",
                f"install {name}>={oldest}",
            )
    return found


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
