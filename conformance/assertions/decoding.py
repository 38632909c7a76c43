"""What clauses assert of how an answer was decoded from its logits."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

from conformance.assertions.logits import NOT_A_NUMBER, agree, spread_of
from conformance.core.case import START
from conformance.core.decodings import DECODINGS
from conformance.core.finding import Difference
from conformance.core.signals import NotApplicable, Undecided, Violation, violation
from conformance.runs.tolerance import CLEAR, ERROR_FLOOR

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.oracles.beams import Searched
    from conformance.runs.trace import Trace


def sampled_by_hand(got: Trace) -> None:
    """Every token is what sampling by hand gives for the answer's own logits, and the same random numbers were drawn.

    Of logits that were seen there are no near ties: both begin with the same bits. That they are right is shown beside it.
    """
    from conformance.oracles.sampling import sample

    expected = sample(got.logits, DECODINGS[got.case.decoding], got.case.seed)
    same_tokens(got, expected.tokens, "another token was sampled")
    if got.random is None or not got.random.equal(expected.random):
        raise violation(
            "the random numbers that generate drew", "others, or not as many", "one for each token that may follow"
        )


def same_tokens(got: Trace, expected: Tensor, what: str) -> None:
    """Every token of the answer is the ``expected`` one, ``(rows, steps)``."""
    if got.tokens.equal(expected):
        return
    step, row = min((int(step), int(row)) for row, step in (got.tokens != expected).nonzero())
    raise violation(what, int(got.tokens[row, step]), int(expected[row, step]), row=row, step=step)


def something_guessed(got: Trace, request: Mapping[str, Tensor]) -> None:
    """Not applicable where prompt lookup had nothing to guess while there was a step left to verify it."""
    begun, _ = _real_tokens(got, request)
    for start, answer in zip(begun.tolist(), got.tokens.tolist(), strict=True):
        for step in range(len(answer) - 1):
            said = [*start, *answer[:step]]
            if said[-1] in said[:-1]:
                return
    raise NotApplicable("nothing is guessed: the last token stands nowhere else in text and answer")


def told_text_only(got: Trace, request: Mapping[str, Tensor]) -> None:
    """Our processor and our criterion were given the real tokens in every step, and nothing else."""
    import torch

    begun, _ = _real_tokens(got, request)
    whole = torch.cat([begun, got.tokens], dim=1)
    for who, told, known in (("processor", got.told_to_processor, 0), ("stopping criterion", got.told_to_criterion, 1)):
        expected = [whole[:, : begun.shape[1] + step + known] for step in range(got.tokens.shape[1])]
        if len(told) != len(expected):
            raise violation(f"how often our {who} was asked", len(told), len(expected))
        for step, (seen, right) in enumerate(zip(told, expected, strict=True)):
            if not seen.equal(right):
                raise violation(f"the tokens that our {who} was given", seen.tolist(), right.tolist(), step=step)


def processed_by_hand(got: Trace, request: Mapping[str, Tensor]) -> None:
    """Every token is the best of the answer's own logits, processed by hand, and a row that has ended goes on with pads."""
    from conformance.oracles.processing import answer

    begun, text = _real_tokens(got, request)
    expected = answer(got.logits, begun, text, got.case.new_tokens, DECODINGS[got.case.decoding])
    answered = expected.shape[1]
    same_tokens(got.steps(answered), expected, "another token is best under the processors")
    if got.tokens.shape[1] > answered:
        raise violation("steps of an answer that has ended in every row", got.tokens.shape[1], answered)
    ended = bool(_ended(expected).all())
    if not ended and expected.shape[1] < got.case.new_tokens:
        raise violation("steps of an answer that has not ended", expected.shape[1], got.case.new_tokens)


def stopped_by_hand(got: Trace, plain: Trace, request: Mapping[str, Tensor]) -> None:
    """The answer that was ``got`` is the ``plain`` one, each row cut by hand behind the first string that ends it."""
    expected = cut_by_hand(plain, request)
    if got.tokens.shape[1] != expected.shape[1]:
        raise violation("steps until a string has ended every row", got.tokens.shape[1], expected.shape[1])
    agree(got, plain.steps(expected.shape[1]), "stop strings change the logits")
    same_tokens(got, expected, "another token, where a string ends answers")


def cut_by_hand(plain: Trace, request: Mapping[str, Tensor]) -> Tensor:
    """The tokens ``(rows, steps)`` that are left of a ``plain`` answer where strings end it."""
    from conformance.families.vocabulary import stop_strings
    from conformance.oracles.processing import cut

    begun, text = _real_tokens(plain, request)
    return cut(plain.tokens, begun, stop_strings(text), DECODINGS["stopped"]["eos_token_id"])


def _ended(tokens: Tensor) -> Tensor:
    """Which rows of an answer ``(rows, steps)`` hold a token that ends it."""
    import torch

    return torch.isin(tokens, torch.tensor(DECODINGS["processed"]["eos_token_id"])).any(-1)


def _real_tokens(got: Trace, request: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The tokens ``(rows, width)`` that an answer goes on from, and those of the text."""
    import torch

    text = request["input_ids"]
    return (torch.full((len(text), 1), START) if got.case.roles.encoder_layers else text), text


def searched_by_hand(got: Trace, rows: Sequence[Searched]) -> None:
    """The returned answers, their order and scores are those that a beam search by hand finds.

    Where a decision of that search is so close that the error could turn it, other answers may be right; their scores must be.
    """
    from conformance.oracles.beams import score_of

    if got.scores is None:
        raise violation("scores of the answers that a beam search returns", "none", "one for each answer")
    scores = iter(got.scores.tolist())
    for row, (searched, answers) in enumerate(zip(rows, _answers(got, rows), strict=True)):
        for answer in answers:
            _same_score(got, row, answer, next(scores), score_of(answer, searched.following, searched.asked))
    same_answers(got, rows)


def same_answers(got: Trace, rows: Sequence[Searched]) -> None:
    """The returned answers and their order are those that a beam search by hand finds."""
    for row, (searched, answers) in enumerate(zip(rows, _answers(got, rows), strict=True)):
        best, margin = [one.answer for one in searched.found.best], searched.found.margin
        if answers == best:
            continue
        if margin <= _doubt(got):
            raise Undecided(f"hypotheses of row {row} are as close as {margin:.3g}, which the error could turn")
        raise violation("the answers that a beam search returns", answers, best, row=row)


def _answers(got: Trace, rows: Sequence[Searched]) -> list[list[tuple[int, ...]]]:
    """For every row the answers that were returned, each up to its end."""
    each = [rows[0].asked.returned] * len(rows)
    if len(got.tokens) != sum(each):
        raise violation("how many answers a beam search returns", len(got.tokens), sum(each))
    returned = got.tokens.split(each)
    return [
        [_until_end(told, row.asked.ends) for told in some.tolist()] for row, some in zip(rows, returned, strict=True)
    ]


def _until_end(tokens: Sequence[int], ends: Container[int]) -> tuple[int, ...]:
    """An answer up to the token that ends it; what fills the row behind that says nothing."""
    last = next((at for at, token in enumerate(tokens) if token in ends), len(tokens))
    return tuple(tokens[: last + 1])


def _same_score(got: Trace, row: int, answer: tuple[int, ...], score: float, expected: float) -> None:
    """The score of one answer; each of its tokens adds a logit and the logarithm of a sum, each off by the error at most."""
    margin, most = abs(score - expected), 2 * len(answer)
    if margin <= most * ERROR_FLOOR * spread_of(got):
        return
    error = _error(got)
    if margin <= most * error:
        return
    if margin <= CLEAR * most * error:
        raise Undecided(f"a difference of scores of {margin:.3g} is within {CLEAR:g} errors of {most * error:.3g}")
    raise Violation(
        Difference(
            what="the score of an answer",
            got=f"{list(answer)}: {score:.5f}",
            expected=f"{expected:.5f}",
            row=row,
            margin=margin if math.isfinite(margin) else NOT_A_NUMBER,
            error=most * error,
        )
    )


def _doubt(got: Trace) -> float:
    """How close two hypotheses may be, in log-probabilities, so that the error of both could change their order."""
    return 4 * got.case.new_tokens * _error(got)


def _error(got: Trace) -> float:
    error = got.error()
    if error is None:
        raise Undecided("two right computations are too far apart to say")
    return error
