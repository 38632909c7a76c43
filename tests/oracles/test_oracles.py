"""Oracles are held against each other, against the reference subject, and against the base model without a prefix.

They share no code, so where they agree they are right, or wrong in the same way by accident. The bounds are measured, as a
share of the logits' spread. Over the Cases below the largest difference is 1.2e-6 in float32 models; in float64 models it is
1.5e-15 where everything is computed in float64, and 3.2e-7 where some norm, softmax, rotation or the adapter is in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor

from conformance.assertions.gradients import predicted_gradients
from conformance.clauses.follow_ups import loaded_with_text
from conformance.clauses.preconditions import something_learns, text_fits
from conformance.compat.caches import KeysValues
from conformance.core.case import Case, Prefix, Row
from conformance.core.finding import DEFAULT_METHOD
from conformance.core.relations import in_double, other_prefix, with_labels, with_padding, without_prefix
from conformance.engine.search import drawn
from conformance.families import family_named, flagships
from conformance.families.inputs.text import prefix_text
from conformance.methods import METHODS, method_named
from conformance.methods.method import NOTHING, Injected
from conformance.oracles.plain_attention import DECODERS
from conformance.oracles.table import handmade_cache, handmade_loop, plain_attention, real_tokens
from conformance.runs.lab import Lab
from conformance.runs.tolerance import ERROR_FLOOR
from conformance.runs.trace import Trace
from conformance.runs.training_batch import training_batch
from conformance.strategies import strata

SINGLE, MIXED, DOUBLE = 5e-6, 2e-6, 1e-13
"""Largest differences of two right computations, as shares of the logits' spread: in float32, in both, in float64 only."""
CLEAR = 1e-2
"""Smallest difference that a wrong prefix makes, as such a share: two thousand times the largest bound."""
PARTLY_SINGLE = ("bloom", "gemma3")
"""Families whose models compute a part in float32 whatever they are told; under eager attention most do, in the softmax."""
NAMES = tuple(flagships())
IN_ALGEBRA = sorted(name for name, family in flagships().items() if family.model in DECODERS)
"""Families for which there is a decoder in plain tensor algebra."""


def first_cases(name: str, method: str = DEFAULT_METHOD) -> list[Case]:
    """A Case of every stratum: every pair of classes."""
    return [drawn(name, stratum, 0, method) for stratum in strata(family_named(name), 1, 0)]


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab("reference")


def each(name: str, method: str) -> Iterator[Case]:
    for case in first_cases(name, method):
        yield case
        yield in_double(case)


def apart(one: Tensor, other: Tensor) -> float:
    """Largest difference, as a share of the spread."""
    one, other = one.double(), other.double()
    return float((one - other).abs().max() / (one.amax(-1) - one.amin(-1)).mean())


def bound(case: Case) -> float:
    if case.dtype == "float32":
        return SINGLE
    return MIXED if case.family in PARTLY_SINGLE or case.attention == "eager" else DOUBLE


def test_the_bounds_are_below_what_the_verdicts_call_an_error() -> None:
    assert max(SINGLE, MIXED, DOUBLE) < ERROR_FLOOR


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NAMES)
def test_one_pass_step_by_step_and_the_reference_subject_agree(lab: Lab, name: str, method: str) -> None:
    for case in each(name, method):
        got = lab.generate(case)
        once = lab.predict(case, handmade_cache, got.tokens).logits
        loop = lab.predict(case, handmade_loop, got.tokens).logits
        # Unlike generate of transformers, whose logits are float32, the reference's own loop keeps the dtype.
        assert got.logits.dtype == getattr(torch, case.dtype)
        assert apart(once, loop) < bound(case), case
        assert apart(once, got.logits) < bound(case), case


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NAMES)
def test_greedy_tokens_are_the_best_ones_of_the_oracle(lab: Lab, name: str, method: str) -> None:
    for case in first_cases(name, method):
        got = lab.generate(case)
        assert torch.equal(lab.predict(case, handmade_cache, got.tokens).logits.argmax(-1), got.tokens), case


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", IN_ALGEBRA)
def test_plain_tensor_algebra_agrees(lab: Lab, name: str, method: str) -> None:
    for case in each(name, method):
        got = lab.generate(case)
        by_algebra = lab.predict(case, plain_attention, got.tokens).logits
        assert by_algebra.dtype == torch.float64
        # Rotary models compute rotations and norms in float32; GPT-2 has neither.
        most = DOUBLE if (name, case.dtype) == ("gpt2", "float64") else MIXED
        assert apart(by_algebra, lab.predict(case, handmade_cache, got.tokens).logits) < most, case


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NAMES)
def test_a_prefix_of_real_tokens_answers_like_the_tokens(lab: Lab, name: str, method: str) -> None:
    fitting = [case for case in first_cases(name, method) if text_fits(case)]
    assert len(fitting) >= 4
    for case in fitting:
        (loaded,) = loaded_with_text(case)
        for follow in (loaded, in_double(loaded)):
            got = lab.generate(follow)
            by_text = lab.predict(follow, real_tokens, got.tokens).logits
            # The adapter holds the keys and values in float32, so in float64 the text knows them better.
            most = SINGLE if follow.dtype == "float32" else MIXED
            assert apart(by_text, lab.predict(follow, handmade_cache, got.tokens).logits) < most, follow
            assert apart(by_text, got.logits) < most, follow


@pytest.mark.parametrize("name", NAMES)
def test_without_a_prefix_they_say_what_the_base_model_says(lab: Lab, name: str) -> None:
    """Over rows of equal length, where even a wrong mask could not tell: the base model's own generate and forward."""
    for case in map(without_prefix, first_cases(name)):
        if 0 < case.roles.encoder_layers < case.roles.layers:
            continue  # transformers makes its cache for the encoder's layers, and cannot generate
        even = replace(case, rows=tuple(Row(length=case.longest, seed=row.seed) for row in case.rows))
        base: Trace = lab.generate(even)
        for oracle in (handmade_cache, handmade_loop):
            assert apart(base.logits, lab.predict(even, oracle, base.tokens).logits) < SINGLE, even
        assert apart(base.logits, lab.forward(even, base.tokens).logits) < SINGLE, even


def spoilt(filled: KeysValues, how: str) -> KeysValues:
    """The prefix with one thing wrong."""
    if how == "keys and values of the last layer":
        return [*filled[:-1], filled[-1][::-1]]
    if how == "one virtual token missing":
        return [(keys[:, :, 1:], values[:, :, 1:]) for keys, values in filled]
    if how == "one number":
        keys, values = (tensor.clone() for tensor in filled[0])
        values[0, 0, -1, 0] += 1
        return [(keys, values), *filled[1:]]
    return [(keys * 0, values * 0) for keys, values in filled]


@pytest.mark.parametrize("labels", ["all", "some"])
@pytest.mark.parametrize("name", NAMES)
def test_without_a_prefix_the_loss_by_hand_is_that_of_the_base_model(
    lab: Lab, name: str, labels: Literal["all", "some"]
) -> None:
    """Pads on the right, which no base model counts before the text."""
    for case in first_cases(name, DEFAULT_METHOD):
        bare = with_labels(with_padding(without_prefix(case), "right"), labels)
        tokens = lab.some_tokens(bare)
        given = training_batch(bare, family_named(name), tokens, lab.base(bare)).request
        with torch.no_grad():
            loss = lab.base(bare)(**given).loss
        assert lab.loss_by_hand(bare, tokens) == pytest.approx(float(loss), rel=SINGLE), case


@pytest.mark.parametrize(
    "how", ["keys and values of the last layer", "one virtual token missing", "one number", "empty"]
)
@pytest.mark.parametrize("name", ["llama", "gpt2", "t5", "bloom", "gemma3", "idefics"])
def test_a_wrong_prefix_makes_the_oracle_disagree(lab: Lab, name: str, how: str) -> None:
    """So that agreement means something."""
    case = replace(first_cases(name)[0], rows=(Row(length=2),))
    got = lab.generate(case)
    wrong = spoilt(lab.injected(case).cache, how)
    for oracle in (handmade_cache, handmade_loop):
        assert apart(got.logits, oracle(lab.base(case), lab.family(case), case, got.tokens, Injected(wrong))) > CLEAR


def spoilt_prompt(embeddings: Tensor, how: str) -> Tensor:
    """The prompt with one thing wrong."""
    if how == "one virtual token missing":
        return embeddings[:, 1:]
    if how == "one number":
        moved = embeddings.clone()
        moved[0, -1, 0] += 1
        return moved
    return embeddings.flip(1) if how == "reversed" else embeddings * 0


@pytest.mark.parametrize("how", ["one virtual token missing", "one number", "reversed", "empty"])
@pytest.mark.parametrize("name", ["llama", "gpt2", "t5", "bloom", "gemma3", "idefics"])
def test_a_wrong_prompt_makes_the_oracle_disagree(lab: Lab, name: str, how: str) -> None:
    simple = first_cases(name, "PROMPT_TUNING")[0]
    case = replace(simple, rows=(Row(length=2),), prefix=Prefix(length=2))
    got, held = lab.generate(case), lab.injected(case).embeddings
    assert held is not None
    wrong = Injected(embeddings=spoilt_prompt(held, how))
    for oracle in (handmade_cache, handmade_loop):
        assert apart(got.logits, oracle(lab.base(case), lab.family(case), case, got.tokens, wrong)) > 100 * SINGLE


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NAMES)
def test_another_prefix_and_none_make_the_oracle_disagree(lab: Lab, name: str, method: str) -> None:
    case = first_cases(name, method)[0]
    got = lab.generate(case)
    for other in (other_prefix(case), without_prefix(case)):
        assert apart(got.logits, lab.predict(other, handmade_cache, got.tokens).logits) > CLEAR


@pytest.mark.parametrize("name", IN_ALGEBRA)
def test_plain_tensor_algebra_disagrees_with_a_wrong_prefix(lab: Lab, name: str) -> None:
    case = first_cases(name)[0]
    got, wrong = lab.generate(case), Injected(spoilt(lab.injected(case).cache, "one number"))
    assert apart(got.logits, plain_attention(lab.base(case), lab.family(case), case, got.tokens, wrong)) > CLEAR


def test_real_tokens_do_not_look_at_the_prefix(lab: Lab) -> None:
    (case,) = loaded_with_text(first_cases("llama")[0])
    tokens = lab.generate(case).tokens
    base, family = lab.base(case), lab.family(case)
    empty = Injected(spoilt(lab.injected(case).cache, "empty"))
    assert torch.equal(real_tokens(base, family, case, tokens, empty), real_tokens(base, family, case, tokens, NOTHING))


@pytest.mark.parametrize("name", ["llama", "gpt2", "opt", "bloom", "gemma3"])
def test_embeddings_of_a_real_text_in_front_answer_like_the_text(lab: Lab, name: str) -> None:
    """The other place where a method can act: what is embedded in front of the text, one pass and step by step."""
    for case in map(without_prefix, first_cases(name)):
        got, base, family = lab.generate(case), lab.base(case), lab.family(case)
        before = prefix_text(replace(case, prefix=Prefix(length=3)))
        injected = Injected(embeddings=base.get_input_embeddings()(before[None]).detach())
        longer = replace(case, prefix=Prefix(length=3, content="tokens"))
        by_text = real_tokens(base, family, longer, got.tokens, NOTHING)
        for oracle in (handmade_cache, handmade_loop):
            assert apart(by_text, oracle(base, family, case, got.tokens, injected)) < SINGLE, case
        assert apart(by_text, handmade_cache(base, family, case, got.tokens, NOTHING)) > CLEAR / 10


# -- gradients --------------------------------------------------------------------------------------------------------
STEPS = (3e-3, 3e-4)
"""A long step may pass a kink of an activation, and in a short one the rounding of what is in float32 counts: one must do."""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["llama", "gpt2", "bloom", "gemma3", "t5", "idefics"])
def test_the_gradient_of_the_manual_forward_is_the_slope_of_its_answers(name: str, method: str) -> None:
    """Against differences of two answers, along a direction in which every number of the adapter changes that is trained.

    Within its radius: what is projected has the gradient of what is not, which is no slope.
    """
    case = in_double([case for case in first_cases(name, method) if something_learns(case)][-1])
    case = replace(case, prefix=replace(case.prefix, radii="wide"))
    lab, tokens = Lab("reference"), Lab("reference").some_tokens(case)
    raw = {parameter: value.double() for parameter, value in lab.raw(case).items()}
    torch.manual_seed(0)
    learns = method_named(method).learns
    way = {parameter: torch.randn_like(value) * learns(parameter) for parameter, value in raw.items()}

    def learnt(size: float) -> float:
        moved = {parameter: value + size * way[parameter] for parameter, value in raw.items()}
        return float(lab.predict_from(moved, case, tokens).logits.log_softmax(-1)[..., 0].mean())

    def slope(step: float) -> float:
        # A product of parameters bends: the error of two differences, which grows with the square of the step, is taken out.
        near, far = ((learnt(size) - learnt(-size)) / (2 * size) for size in (step, 2 * step))
        return (4 * near - far) / 3

    told = sum(float((gradient * way[of]).sum()) for of, gradient in predicted_gradients(lab, case, tokens).items())
    assert any(told == pytest.approx(slope(step), rel=5e-3, abs=1e-6) for step in STEPS)
