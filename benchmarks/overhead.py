"""What the harness itself costs: `equivalence.step_logits[llama]` against a bare loop over the same Cases.

Both do the same work: build two models, wrap one with PEFT, fill the prefix, generate, and compare the logits of every
step with a reference forward per row. Rounds of the two alternate in one process, so that a slow spell hits both. Python's cyclic
collector is as quiet as in a worker, for both. What the suite does on top is then profiled, by file.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from peft import PrefixTuningConfig, get_peft_model

from conformance.clauses.registry import Clause, clauses
from conformance.compat import caches
from conformance.compat.versions import judged
from conformance.core.case import Case
from conformance.core.outcome import Outcome
from conformance.engine.known import KnownFailure, load, shipped
from conformance.engine.search import Budget, search
from conformance.families import family_named
from conformance.families.build import build
from conformance.families.inputs import request
from conformance.families.inputs.text import text
from conformance.methods.prefix_tuning import PREFIX_TUNING
from conformance.runs.lab import Lab
from conformance.worker import collector

BOUND = 1.10
FAMILY = "llama"
TOLERANCE = 1e-3


def same_cases(examples: int) -> list[Case]:
    """The distinct Cases that a search of so many examples of each pair of classes meets."""
    seen: dict[Case, None] = {}
    collect = Clause(
        id="benchmark.collect",
        statement="",
        explanation="",
        check=lambda lab, case: seen.setdefault(case),
    )
    search(collect, family_named(FAMILY), Budget(examples=examples), (), Lab("peft"))
    return list(seen)


def harness(examples: int, known: tuple[KnownFailure, ...]) -> None:
    """One item, as the suite runs it, with the ``known`` failures, which a run reads once for all items."""
    clause = clauses()["equivalence.step_logits"]
    verdict = search(clause, family_named(FAMILY), Budget(examples=examples), known, Lab("peft"))
    if verdict.outcome is not Outcome.CONFORMS:
        raise SystemExit(f"{clause.id}[{FAMILY}] {verdict.outcome.value}: there is nothing to compare with")


def bare(case: Case) -> None:
    """The same by hand."""
    model, reference = build(case), build(case)
    hidden = case.prefix.projection
    settings: dict[str, Any] = {"prefix_projection": True, "encoder_hidden_size": hidden} if hidden else {}
    adapter = PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=case.prefix.length, **settings)
    wrapped: Any = get_peft_model(model, adapter)
    wrapped.eval()
    layout = PREFIX_TUNING.layout(case)
    raw = {name: PREFIX_TUNING.draw(case, name, shape) for name, shape in PREFIX_TUNING.shapes(case, layout).items()}
    with torch.no_grad():
        for name, parameter in wrapped.prompt_encoder[wrapped.active_adapter].named_parameters():
            parameter.copy_(raw[name])
        out = wrapped.generate(
            **request(case, family_named(FAMILY)),
            max_new_tokens=case.new_tokens,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
        got = torch.stack(list(out.logits), dim=1)
        filled = PREFIX_TUNING.injected(PREFIX_TUNING.rows(raw), case, layout).cache
        for index in range(len(case.rows)):
            expected = by_row(reference, filled, case, index, out.sequences[index, -case.new_tokens :])
            assert torch.allclose(got[index], expected, atol=TOLERANCE), case


def by_row(model: Any, filled: caches.KeysValues, case: Case, index: int, answer: torch.Tensor) -> torch.Tensor:
    """The logits of every step of one row, ``(steps, vocabulary)``: one forward over the prefix cache."""
    ids = torch.cat([text(case, case.rows[index]), answer[:-1]])[None]
    n, width = case.prefix.length, ids.shape[1]
    logits: torch.Tensor = model(
        input_ids=ids,
        attention_mask=torch.ones(1, n + width, dtype=torch.long),
        position_ids=torch.arange(n, n + width)[None],
        past_key_values=caches.filled_cache(model, filled),
    ).logits
    return logits[0, -len(answer) :]


def cpu_seconds(work: Callable[[], None]) -> float:
    """CPU time of ``work`` in this process."""
    started = time.process_time()
    work()
    return time.process_time() - started


def by_file(work: Callable[[], None]) -> dict[str, float]:
    """Seconds that are spent in the suite's own lines, by file, as a profiler sees them."""
    with cProfile.Profile() as profile:
        work()
    found: dict[str, float] = {}
    for (file, _, _), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        _, inside, name = file.rpartition("/conformance/")
        if inside:
            found[name] = found.get(name, 0.0) + own
    return found


def print_rest(ours: dict[str, float], hand: dict[str, float]) -> None:
    """The files in which the suite spends more than the bare loop."""
    more = {name: seconds - hand.get(name, 0.0) for name, seconds in ours.items()}
    whole = sum(filter(lambda seconds: seconds > 0, more.values()))
    dearest = sorted(more, key=lambda name: -more[name])[:6]
    print("of what the suite's own lines do on top:", ", ".join(f"{name} {more[name] / whole:.0%}" for name in dearest))


def main() -> int:
    """Print both costs and their ratio; 0 if the ratio is within the bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds, after one to warm up")
    parser.add_argument("--examples", type=int, default=4, help="examples of each pair of classes, a round")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    collector.calm()
    cases, known = same_cases(arguments.examples), tuple(load(shipped()))

    def by_hand() -> None:
        for case in cases:
            bare(case)

    def by_suite() -> None:
        harness(arguments.examples, known)

    rounds = [(cpu_seconds(by_suite), cpu_seconds(by_hand)) for _ in range(arguments.rounds + 1)][1:]
    ours, hand = (1000 * statistics.median(column) / len(cases) for column in zip(*rounds, strict=True))
    ratio = statistics.median(mine / its for mine, its in rounds)
    print(f"{judged()}, {len(cases)} Cases, {arguments.rounds} rounds; CPU ms per example, medians:")
    print(f"suite {ours:.1f}, bare loop {hand:.1f}, ratio {ratio:.3f} (bound {BOUND:.2f})")
    print_rest(by_file(by_suite), by_file(by_hand))
    return 0 if ratio <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
