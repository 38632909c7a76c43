"""Checks of other precisions, of less than a clause looks at."""

from __future__ import annotations

from conformance.assertions.logits import agree
from conformance.assertions.precision import right_up_to_rounding
from conformance.clauses import follow_ups, precision
from conformance.core import relations
from conformance.core.case import Case
from conformance.oracles.table import handmade_cache
from conformance.runs.lab import Lab


def answers_in_half(lab: Lab, case: Case) -> None:
    """In half precision generate answers as in float32, up to rounding; nobody looks at what the virtual tokens are."""
    (own,) = follow_ups.halves(case)
    right_up_to_rounding(lab, own, lab.generate(own), "generate answers otherwise than in float32")


def usual_numbers(lab: Lab, case: Case) -> None:
    """All that is claimed of half precision, with numbers of about 1 in the virtual tokens."""
    (own,) = follow_ups.halves(case)
    precision.half(lab, relations.with_scale(own, "drawn"))


def answers_under_autocast(lab: Lab, case: Case) -> None:
    """Under autocast generate answers as the manual forward does; nobody trains."""
    (own,) = follow_ups.autocasts(case)
    right_up_to_rounding(lab, own, lab.generate(own), "generate answers otherwise under autocast", own=True)


def answers_after_loading(lab: Lab, case: Case) -> None:
    """Saved in float64 and loaded again, generate answers as the manual forward does, at the error of float32."""
    (own,) = follow_ups.doubles(case)
    own = relations.first_steps(own, 1)
    with lab.saved(lab.converted(own)) as folder:
        got = lab.generate_on(lab.loaded(own, folder), own)
    agree(got, lab.predict(own, handmade_cache, tokens=got.tokens))


def double_as_float32(lab: Lab, case: Case) -> None:
    """In float64 forward answers as the manual forward does, at the error of float32."""
    (own,) = follow_ups.doubles(case)
    got = lab.forward_on(lab.converted(own), own, lab.some_tokens(own))
    agree(got, lab.predict(own, handmade_cache, tokens=got.tokens))
