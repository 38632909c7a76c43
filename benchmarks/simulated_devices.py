"""What simulation costs: `generate` of a PEFT model on one simulated device against the same on the plain CPU.

Both in one process, alternating call by call, so that a slow spell hits both; CPU time. Per family the Cases are the
boundaries of the strata, without those that PEFT cannot run at all, and the figure is the median of the rounds' ratios.
The bound is for the median family. The labelled lane cannot be measured so: its modes slow the plain runs down too.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import Any

import torch

from conformance.clauses.registry import Clause
from conformance.compat.versions import judged
from conformance.core.case import Case
from conformance.devices import activate, available
from conformance.engine.search import Budget, search
from conformance.families import Family, flagships
from conformance.families.inputs import request
from conformance.methods.prefix_tuning import PREFIX_TUNING
from conformance.runs.lab import Lab
from conformance.runs.makers import PeftSubject

BOUND = 7.0


def boundaries(family: Family) -> list[Case]:
    """A Case of each stratum: every pair of classes."""
    seen: dict[Case, None] = {}
    collect = Clause(
        id="benchmark.collect", statement="", explanation="", check=lambda lab, case: seen.setdefault(case)
    )
    search(collect, family, Budget(examples=1), (), Lab("peft"))
    return list(seen)


class Run:
    """One Case, ready to be generated on ``device``."""

    def __init__(self, case: Case, family: Family, device: str) -> None:
        subject = PeftSubject(case)
        subject.fill(lambda name, shape: PREFIX_TUNING.draw(case, name, shape))
        self.model = subject.model.to(device)
        self.given: dict[str, Any] = {name: value.to(device) for name, value in request(case, family).items()}
        self.steps = case.new_tokens

    @classmethod
    def possible(cls, case: Case, family: Family) -> bool:
        """Whether PEFT can run it on the plain CPU."""
        try:
            cls(case, family, "cpu").seconds()
        except (RuntimeError, ValueError):
            return False
        return True

    @torch.no_grad()
    def seconds(self) -> float:
        """CPU time of one generate."""
        started = time.process_time()
        self.model.generate(**self.given, max_new_tokens=self.steps)
        return time.process_time() - started


def ratios(family: Family, device: str, rounds: int) -> tuple[float, float, float]:
    """Milliseconds of a generate on the CPU and on the simulated device, and their ratio: medians over the rounds."""
    cases = [case for case in boundaries(family) if Run.possible(case, family)]
    runs = [(Run(case, family, "cpu"), Run(case, family, device)) for case in cases]
    measured = []
    for _ in range(rounds + 1):
        pairs = [(plain.seconds(), ours.seconds()) for plain, ours in runs]
        measured.append(tuple(1000 * sum(column) / len(runs) for column in zip(*pairs, strict=True)))
    plain, ours = (statistics.median(column) for column in zip(*measured[1:], strict=True))
    return plain, ours, statistics.median(second / first for first, second in measured[1:])


def main() -> int:
    """Print the cost per family and the median; 0 if that is within the bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds, after one to warm up")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if available() != "simulated":
        raise SystemExit(f"the lane here is {available()!r}: there is nothing to measure")
    (device,) = activate("simulated", 1)
    print(f"{judged()}, {arguments.rounds} rounds; CPU ms per generate, medians:")
    found = []
    for name, family in flagships().items():
        plain, ours, ratio = ratios(family, device, arguments.rounds)
        found.append(ratio)
        print(f"{name:10s} {plain:6.1f} -> {ours:6.1f}, ratio {ratio:.2f}", flush=True)
    median = statistics.median(found)
    print(f"median {median:.2f} (bound {BOUND:g})")
    return 0 if median <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
