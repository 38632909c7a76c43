"""What the main job costs: the quick profile over all families on two workers, as a user would start it.

Measured method by method in two parts: the chapters on plain models, and the chapter on placed ones. Each part of prefix tuning
has a bound, and so has the sum. CPU time is that of the command and all its processes, imports included. The first verdict is
timed from the start of the command; what two processes need at once for the imports alone, measured just before, is taken off.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from conformance.clauses.registry import clauses
from conformance.compat.versions import judged
from conformance.core.finding import DEFAULT_METHOD
from conformance.methods import METHODS
from conformance.session.reader import read_events

WORKERS = 2
CPU_BOUND, SUM_BOUND, FIRST_BOUND = 120.0, 500.0, 5.0
PLAIN, PLACED = "plain models", "placed models"
ACCEPTED = (0, 1, 4)
"""Exit codes of a finished run; what it found is not measured here."""


def import_seconds() -> float:
    """Wall seconds until as many processes as there are workers have imported torch, transformers and PEFT."""
    command = [sys.executable, "-c", "import torch, transformers, peft, hypothesis"]
    started = time.perf_counter()
    for process in [subprocess.Popen(command) for _ in range(WORKERS)]:
        process.wait()
    return time.perf_counter() - started


def children_cpu_seconds() -> float:
    """CPU seconds of all processes started from here that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(method: str, chosen: list[str], report: Path) -> tuple[int, float, float]:
    """Exit code, wall seconds to the first verdict, and wall seconds to the end, for the clauses ``chosen``."""
    command = [str(Path(sys.executable).with_name("peft-conformance")), "run", "--workers", str(WORKERS)]
    command += ["--methods", method]
    started = time.perf_counter()
    arguments = [*command, "--clauses", ",".join(chosen), "--profile", "quick", "--report", str(report)]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    first = 0.0
    while process.poll() is None:
        if not first and report.exists() and b'"event":"cell"' in report.read_bytes():
            first = time.perf_counter() - started
        time.sleep(0.02)
    return process.returncode, first, time.perf_counter() - started


def measured(method: str, part: str, chosen: list[str], imports: float) -> tuple[float, bool]:
    """Print and give what the clauses ``chosen`` cost, and whether that is within the bounds."""
    before = children_cpu_seconds()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "quick.events.jsonl"
        code, first, total = run(method, chosen, report)
        cpu = children_cpu_seconds() - before
        judged_cells = [cell for cell in read_events(report).cells if cell.verdict]
    examples = sum(sum(cell.verdict.counts.values()) for cell in judged_cells if cell.verdict) / len(judged_cells)
    bound = CPU_BOUND if method == DEFAULT_METHOD else SUM_BOUND
    print(f"{method}, {part}: {len(judged_cells)} verdicts, {examples:.0f} examples each, exit code {code}")
    print(f"  CPU {cpu:.1f} s (bound {bound:g}), wall {total:.1f} s")
    print(f"  first verdict {first - imports:.1f} s after the imports (bound {FIRST_BOUND:g})")
    # Placed models wait for the imports of a second process.
    in_time = part == PLACED or first - imports <= FIRST_BOUND
    return cpu, code in ACCEPTED and cpu <= bound and in_time


def main() -> int:
    """Print the costs; 0 if they are within the bounds."""
    import_seconds()  # compiles byte code, fills the disk cache
    imports = import_seconds()
    print(f"{judged()}, quick profile, {WORKERS} workers; imports took {imports:.1f} s")
    parts: dict[str, list[str]] = {PLAIN: [], PLACED: []}
    for clause in clauses().values():
        parts[PLACED if clause.placed else PLAIN].append(clause.id)
    costs, within = zip(
        *(measured(method, *part, imports) for method in METHODS for part in parts.items()), strict=True
    )
    print(f"all methods: CPU {sum(costs):.1f} s (bound {SUM_BOUND:g})")
    return 0 if all(within) and sum(costs) <= SUM_BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
