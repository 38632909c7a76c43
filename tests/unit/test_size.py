"""A Case whose every field is legal, and which no machine could build, is refused by arithmetic."""

from __future__ import annotations

import pytest

from conformance.clauses.registry import Clause
from conformance.core.case import Case, Prefix, Roles, Row
from conformance.core.errors import UserError
from conformance.core.outcome import Outcome
from conformance.engine.controls import run
from conformance.engine.search import drawn
from conformance.families import family_named
from conformance.families.size import MOST, numbers_needed, too_large
from conformance.session.judge import run_case
from conformance.strategies import strata

LARGE = Roles(layers=64, heads=64, kv_heads=64, head_dim=64, width=64, ffn=64)
BOMB = Case(family="llama", roles=LARGE, rows=(Row(length=64),) * 8, beams=8)


def never(lab: object, case: Case) -> None:
    raise AssertionError("it was built")


CLAUSE = Clause(id="a.b", statement="", explanation="", check=never)


def test_it_is_a_mistake_of_who_replays_it() -> None:
    with pytest.raises(UserError) as refused:
        run_case(CLAUSE, BOMB)
    assert refused.value.code == "case-too-large"


def test_it_is_not_applicable_where_a_database_or_a_relation_gave_it() -> None:
    shown = run(CLAUSE, object(), BOMB)  # type: ignore[arg-type]
    assert shown.outcome is Outcome.NOT_APPLICABLE
    assert shown.reason.startswith("it needs 2,4")


@pytest.mark.parametrize(
    "case",
    [
        Case(family="llama", roles=Roles(layers=64, heads=64, kv_heads=64, head_dim=64, width=64)),
        Case(family="t5", roles=Roles(encoder_layers=99, heads=64, kv_heads=64, head_dim=64, width=64, ffn=64)),
        Case(family="llama", roles=Roles(layers=64, kv_heads=64, head_dim=64), prefix=Prefix(projection=99)),
        Case(family="llama", roles=Roles(layers=8, heads=64, head_dim=64), rows=(Row(length=64),) * 8, beams=8),
    ],
)
def test_each_part_alone_can_be_too_much(case: Case) -> None:
    assert too_large(case)


@pytest.mark.parametrize("family", ["llama", "t5", "gemma3"])
def test_what_is_drawn_is_far_from_the_limit(family: str) -> None:
    cases = [drawn(family, stratum, 0) for stratum in strata(family_named(family), 4, 0)]
    assert max(map(numbers_needed, cases)) < MOST / 100


def test_an_lstm_counts() -> None:
    """Two layers in two directions: four gates of 99 units, which read 8 numbers or 198, and themselves."""
    with_lstm = Case(family="llama", method="P_TUNING", prefix=Prefix(lstm_layers=2, projection=99))
    without = Case(family="llama", method="P_TUNING", prefix=Prefix(projection=99))
    needed = numbers_needed(with_lstm) - numbers_needed(without)
    least = 2 * 4 * 99 * (8 + 99) + 2 * 4 * 99 * (198 + 99)
    assert least < needed < 2 * least
