"""Which releases a range has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.core.errors import UserError
from conformance.matrix import uv
from conformance.matrix.releases import releases

if TYPE_CHECKING:
    from tests.matrix.conftest import Index

pytestmark = pytest.mark.light


@pytest.mark.parametrize(
    ("package", "text", "found"),
    [
        ("peft", ">=0.13,<0.15", ("0.13.0", "0.13.2", "0.14.0")),
        ("peft", "0.13.2", ("0.13.2",)),
        ("transformers", "4.45.*", ("4.45.0", "4.45.1", "4.45.2")),
        ("transformers", "==4.45.1", ("4.45.1",)),
        ("peft", "<0.14,!=0.13.0", ("0.12.0", "0.13.2")),
        ("peft", "", ("0.12.0", "0.13.0", "0.13.2", "0.14.0")),
        ("peft", "0.15.0rc1", ("0.15.0rc1",)),
    ],
)
def test_a_range_has_these_releases_oldest_first_and_none_that_is_not_supported(
    index: Index, package: str, text: str, found: tuple[str, ...]
) -> None:
    assert releases(package, text) == found


def test_previews_are_left_out_unless_asked_for(index: Index) -> None:
    assert releases("transformers", ">=4.46") == ("4.46.0",)
    assert releases("transformers", ">=4.46", pre=True) == ("4.46.0", "5.0.0rc1")


@pytest.mark.parametrize(
    ("text", "code"), [("0.13 to 0.15", "bad-range"), (">0.13<", "bad-range"), ("0.13.9", "no-release")]
)
def test_a_range_that_means_nothing_is_refused(index: Index, text: str, code: str) -> None:
    with pytest.raises(UserError) as refused:
        releases("peft", text)
    assert refused.value.code == code


def test_the_oldest_supported_release_is_named_where_a_range_lies_below_it(index: Index) -> None:
    with pytest.raises(UserError, match=r"no release of peft in the range '0\.9\.\*'") as refused:
        releases("peft", "0.9.*")
    assert "from peft 0.10 up" in refused.value.cause


def test_a_network_that_fails_once_is_asked_again(index: Index) -> None:
    index.write(down=1)
    assert releases("peft", "0.14.0") == ("0.14.0",)


def test_a_network_that_fails_twice_is_told_without_its_address(index: Index) -> None:
    index.write(down=2)
    with pytest.raises(UserError, match="Request failed after 3 retries Failed to fetch: the index") as refused:
        releases("peft", "0.14.0")
    assert refused.value.code == "no-index"
    assert "example" not in str(refused.value)
    assert len(index.calls) == uv.ATTEMPTS


def test_without_uv_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(uv, "find_spec", lambda name: None)
    with pytest.raises(UserError) as refused:
        releases("peft", "0.14.0")
    assert (refused.value.code, refused.value.cure) == ("no-uv", "pip install uv")


def test_uv_is_found_as_a_module_where_no_command_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(uv, "find_spec", lambda name: object())
    assert uv.uv_command()[1:] == ("-m", "uv")


@pytest.mark.parametrize(
    ("outer", "told"),
    [
        ({"PIP_FIND_LINKS": "a b"}, {"UV_FIND_LINKS": "a,b"}),
        ({"PIP_FIND_LINKS": "a", "UV_FIND_LINKS": "c"}, {"UV_FIND_LINKS": "c"}),
        ({"PIP_INDEX_URL": "i", "PIP_EXTRA_INDEX_URL": "j k"}, {"UV_DEFAULT_INDEX": "i", "UV_INDEX": "j,k"}),
        ({}, {}),
    ],
)
def test_uv_is_told_what_pip_is_told(outer: dict[str, str], told: dict[str, str]) -> None:
    assert uv.uv_environment(outer) == {**outer, **told}
