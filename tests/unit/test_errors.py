from __future__ import annotations

import pytest

from conformance.core.errors import UserError, unknown

pytestmark = pytest.mark.light


def test_an_error_says_code_message_cause_and_cure() -> None:
    said = str(UserError("no-tea", "there is no tea", "the pot is empty", "fill the pot"))
    assert said == "no-tea: there is no tea\n  cause: the pot is empty\n  cure:  fill the pot"


@pytest.mark.parametrize(
    ("name", "suggested"),
    [("lama", "did you mean 'llama'? "), ("gpt-2", "did you mean 'gpt2'? "), ("transformer-xl", "")],
)
def test_an_unknown_name_gets_the_nearest_one(name: str, suggested: str) -> None:
    error = unknown("family", name, ["gpt2", "llama", "bloom"])
    assert error.code == "unknown-family"
    assert error.message == f"there is no family {name!r}"
    assert error.cause == "a family is one of: bloom, gpt2, llama"
    assert error.cure == f"{suggested}choose one of the names above"
