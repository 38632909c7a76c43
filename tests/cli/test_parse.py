"""Reading a Case back from what a user pastes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.cli.parse import find_case, parse_case
from conformance.core.case import Case
from conformance.core.errors import UserError
from conformance.families import flagships
from conformance.strategies import cases, strata

ANY = st.sampled_from(
    [
        (family, stratum)
        for family in flagships().values()
        for placed in (False, True)
        for stratum in strata(family, 1, 0, placed)
    ]
)
OURS = settings(derandomize=True, database=None, deadline=None, max_examples=60)


@OURS
@given(case=ANY.flatmap(lambda pair: cases(*pair)))
def test_json_and_repr_both_give_the_case_back(case: Case) -> None:
    assert parse_case(case.to_json()) == case
    assert parse_case(repr(case)) == case
    assert parse_case(repr(case)).id == case.id


@OURS
@given(case=ANY.flatmap(lambda pair: cases(*pair)), cut=st.integers(1, 400))
def test_a_truncated_case_is_refused(case: Case, cut: int) -> None:
    for text in (case.to_json(), repr(case)):
        with pytest.raises(UserError) as caught:
            parse_case(text[: max(1, len(text) - cut)])
        assert caught.value.code == "malformed-case"


@pytest.mark.parametrize(
    "text",
    [
        "Case(family=__import__('os').system('false'))",
        "Case(family='llama', seed=1 + 1)",
        "Case('llama')",
        "Case(**{'family': 'llama'})",
        "Case(family='llama', speed=3)",
        "Case(family='llama', seed=100)",
        "Case(family='llama', rows=[])",
        "Case(family='llama', rows=())",
        "Case(family=Case)",
        "Case(family='llama') or Case(family='gpt2')",
        "Case(" + "(" * 500,
        "Case(family='\x00')",
        '{"family":"llama","speed":3}',
        '{"family":"llama","seed":-1}',
        '{"family":"llama"} {"family":"gpt2"}',
        '{"clause":"a.b"}',
        "{",
    ],
)
def test_what_is_no_case_is_refused_and_never_run(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_case(text)
    assert caught.value.code == "malformed-case"


def test_an_unknown_id_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        find_case("0123456789ab", (), None)
    assert caught.value.code == "unknown-case"
