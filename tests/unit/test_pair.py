"""A pair of releases: one way to write it, and every way to read it."""

from __future__ import annotations

import pytest

from conformance.core.errors import UserError
from conformance.core.pair import Pair, compare, parse, product, tag

pytestmark = pytest.mark.light

PAIR = Pair("0.13.2", "4.45.1")
GITHUB = "https://github.com/huggingface"


@pytest.mark.parametrize(
    "text",
    [
        "0.13.2x4.45.1",
        "0.13.2 x 4.45.1",
        "0.13.2,4.45.1",
        "0.13.2, 4.45.1",
        "peft-0.13.2-transformers-4.45.1",
        "stack-peft-0.13.2-transformers-4.45.1",
        "history-peft-0.13.2-transformers-4.45.1",
        "stack(peft-0.13.2-transformers-4.45.1)",
        "peft 0.13.2 x transformers 4.45.1",
        " peft 0.13.2 x transformers 4.45.1 ",
    ],
)
def test_a_pair_is_read_however_it_is_written(text: str) -> None:
    assert parse(text) == PAIR
    with pytest.raises(UserError):
        parse(text.replace("4.", "q"))


@pytest.mark.parametrize("pair", [PAIR, Pair("0.15.0rc1", "5.0.0.dev0"), Pair("0.21.2.dev0+g1", "5.24.0")])
def test_what_a_pair_is_called_is_read_back(pair: Pair) -> None:
    assert parse(str(pair)) == parse(pair.name) == parse(f"stack-{pair.name}") == pair


@pytest.mark.parametrize(
    "text",
    ["", "0.13.2", "0.13.2x", "0.13.2x4.45.1x5", "0.13.2xnewest", "peft-0.13.2", "newest", "transformers 4 x peft 1"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(text)
    assert refused.value.code == "bad-pair"


def test_a_pair_is_in_the_versions_of_what_is_installed() -> None:
    assert Pair.of({"peft": "0.13.2", "torch": "2", "transformers": "4.45.1"}) == PAIR


def test_a_product_goes_through_the_transformers_of_each_peft() -> None:
    pairs = [Pair("1", "3"), Pair("1", "4"), Pair("2", "3"), Pair("2", "4")]
    assert list(product(["1", "2"], iter(["3", "4"]))) == pairs


def test_releases_have_pages() -> None:
    assert tag("peft", "0.14.0") == f"{GITHUB}/peft/releases/tag/v0.14.0"
    assert compare("transformers", "4.45.1", "4.45.2") == f"{GITHUB}/transformers/compare/v4.45.1...v4.45.2"
