"""What is computed in another precision than float32 is right up to that precision's rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.precision import (
    held_in_its_dtype,
    learns_in_its_dtype,
    loaded_and_converted,
    loaded_from_double,
    loaded_from_single,
    right_in_double,
    right_up_to_rounding,
)
from conformance.clauses.follow_ups import autocasts, doubles, halves
from conformance.clauses.preconditions import in_reach
from conformance.clauses.registry import clause
from conformance.core.relations import first_steps, in_single
from conformance.core.signals import violation
from conformance.core.sources import DTYPE_DOC, PEFT_MODEL_DOC
from conformance.methods import method_named

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab


@clause(
    sources=("huggingface/peft#688", DTYPE_DOC),
    one_in=4,
    requires=(in_reach,),
    follow_ups=halves,
    decisive=3,
)
def half(lab: Lab, case: Case) -> None:
    """With a base model in bfloat16 or float16 the virtual tokens are in its dtype, and all answers are those of float32.

    Up to rounding: ten times what the manual forward in that dtype differs from the one in float32. So it is however the adapter
    came there: made on such a model; saved from one in float32, and loaded; or converted with the wrapped model as a whole.
    Numbers in the virtual tokens are about 1, or very large, or very small. Loss and gradients are numbers.
    """
    got = lab.generate(case)
    held_in_its_dtype(lab, case, got, "generate")
    trained = learns_in_its_dtype(lab, case, got.tokens, lab.subject(case))
    held_in_its_dtype(lab, case, trained, "forward")
    converted = loaded_and_converted(lab, first_steps(case, 1)) if case.prefix.length else got
    right_up_to_rounding(lab, case, got, "generate answers otherwise than in float32")
    right_up_to_rounding(lab, case, trained, "forward answers otherwise than in float32")
    if not method_named(case.method).keeps_rows(case):
        right_up_to_rounding(lab, converted.case, converted, "a converted model answers otherwise than in float32")


@clause(
    sources=("huggingface/peft#62", "huggingface/peft#1706", DTYPE_DOC),
    one_in=4,
    requires=(in_reach,),
    follow_ups=autocasts,
    decisive=3,
)
def autocast(lab: Lab, case: Case) -> None:
    """Under autocast to bfloat16 generate and forward answer as the manual forward does under it, and what is trained learns.

    Up to rounding: ten times what the manual forward under autocast differs from the one in float32. Loss and gradients are
    numbers, and none is lost that the manual forward has.
    """
    got = lab.generate(case)
    right_up_to_rounding(lab, case, got, "generate answers otherwise under autocast", own=True)
    trained = learns_in_its_dtype(lab, case, got.tokens, lab.subject(case))
    right_up_to_rounding(lab, case, trained, "forward answers otherwise under autocast", own=True)


@clause(
    sources=("huggingface/peft#688",),
    one_in=4,
    requires=(in_reach,),
    follow_ups=doubles,
    decisive=3,
)
def double(lab: Lab, case: Case) -> None:
    """A wrapped model that was converted to float64 computes in float64: virtual tokens and logits have its error.

    Numbers in the virtual tokens have more digits than float32 holds. One step through float32 would be off by some 1e-8, the
    error of float64 is a millionth of that.
    """
    subject = lab.converted(case)
    tokens = lab.some_tokens(case)
    trained = learns_in_its_dtype(lab, case, tokens, subject)
    held_in_its_dtype(lab, case, trained, "forward")
    if trained.logits.dtype != lab.base(case).dtype:
        raise violation("dtype of the logits of forward", str(trained.logits.dtype), str(lab.base(case).dtype))
    right_in_double(lab, case, trained, "forward answers otherwise than in float64")
    held_in_its_dtype(lab, case, lab.generate_on(subject, first_steps(case, 1)), "generate")


@clause(
    sources=("huggingface/peft#2043", DTYPE_DOC, PEFT_MODEL_DOC),
    one_in=4,
    follow_ups=doubles,
    control="runs",
    decisive=2,
)
def loaded(lab: Lab, case: Case) -> None:
    """Saved in float32 or float64 and loaded onto a base model in either, virtual tokens are rounded once at most, and answer.

    From float32 to float64 they are what they were, from float64 to float64 no digit is lost, from float64 to float32 they are
    rounded: to the bit, but for the last bits of what a network computes. From float32 to a half precision: see ``half``.
    """
    short = first_steps(case, 1)
    loaded_from_single(lab, short)
    loaded_from_double(lab, in_single(short))
    loaded_from_double(lab, short)
