from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.compat import versions
from conformance.compat.versions import newest_first
from conformance.core.errors import UserError

pytestmark = pytest.mark.light

HERE = {"torch": "2.13.0", "peft": "0.21.2", "transformers": "5.23.0", "hypothesis": "6.170.0"}
Install = Callable[[dict[str, str]], None]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    def install(packages: dict[str, str]) -> None:
        def version(name: str) -> str:
            if name not in packages:
                raise importlib.metadata.PackageNotFoundError(name)
            return packages[name]

        monkeypatch.setattr(versions, "version", version)
        monkeypatch.setattr(versions, "of_code", lambda name: "")
        versions.versions.cache_clear()

    yield install
    versions.versions.cache_clear()


def test_what_is_installed_is_recorded_and_what_is_not_is_left_out(installed: Install) -> None:
    installed(HERE)
    assert versions.versions() == {"python": platform.python_version(), **HERE}
    assert versions.judged() == "peft 0.21.2 x transformers 5.23.0"


@pytest.mark.parametrize("name", ["torch", "peft", "transformers"])
def test_a_missing_package_is_refused(installed: Install, name: str) -> None:
    installed({other: number for other, number in HERE.items() if other != name})
    with pytest.raises(UserError) as error:
        versions.require()
    assert (error.value.code, error.value.message, error.value.cure) == (
        "missing-package",
        f"{name} is not installed here",
        f"pip install {name}",
    )


@pytest.mark.parametrize(
    ("name", "number"), [("peft", "0.9.0"), ("transformers", "4.37.2"), ("transformers", "4.38.0rc1")]
)
def test_a_version_before_the_supported_range_is_refused(installed: Install, name: str, number: str) -> None:
    installed({**HERE, name: number})
    with pytest.raises(UserError) as error:
        versions.require()
    assert error.value.code == "unsupported-version"
    assert error.value.message.startswith(f"{name} {number} is older than ")


@pytest.mark.parametrize(
    ("name", "number"), [("peft", "0.10.0"), ("transformers", "4.38.0"), ("peft", "0.22.0.dev0"), ("peft", "1.0")]
)
def test_the_range_has_an_end_only_at_the_old_side(installed: Install, name: str, number: str) -> None:
    installed({**HERE, name: number})
    assert versions.require()[name] == number


@pytest.fixture
def shadow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Another PEFT, first on the path."""
    made = tmp_path / "peft" / "__init__.py"
    made.parent.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "peft", raising=False)
    versions.versions.cache_clear()
    yield made
    versions.versions.cache_clear()


def test_the_version_is_that_of_the_code_and_another_one_of_the_metadata_is_refused(shadow: Path) -> None:
    shadow.write_text('import os\n__version__ = "9.9.9"\n', "utf-8")
    assert versions.versions()["peft"] == "9.9.9"
    with pytest.raises(UserError) as error:
        versions.require()
    assert error.value.code == "two-versions"
    assert f"peft 9.9.9 would be imported, from {shadow}, and peft " in error.value.message


def test_code_that_does_not_say_its_version_has_that_of_the_metadata(shadow: Path) -> None:
    shadow.write_text("from os import name as __version__\n", "utf-8")
    assert versions.versions()["peft"] == importlib.metadata.version("peft")
    versions.require()


def test_what_is_installed_here_says_what_its_metadata_say() -> None:
    for name in versions.JUDGED:
        assert versions.of_code(name) == versions.of_metadata(name)


def test_the_newest_release_comes_first() -> None:
    assert newest_first(["0.9", "0.10.0", "main", "0.10.0.dev1", "0.9"]) == ["main", "0.10.0", "0.10.0.dev1", "0.9"]
