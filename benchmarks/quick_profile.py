"""What the main job costs: the quick profile over all families on two workers, as a user would start it.

CPU time is that of the command and all its processes, imports included. The first verdict is timed from the start of
the command; what two processes need at once for the imports alone, measured just before, is taken off.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from conformance.compat.versions import judged
from conformance.report.events import read

WORKERS = 2
CPU_BOUND, FIRST_BOUND = 120.0, 5.0
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


def run(report: Path) -> tuple[int, float, float]:
    """Exit code, wall seconds to the first verdict, and wall seconds to the end."""
    command = [str(Path(sys.executable).with_name("peft-conformance")), "run", "--workers", str(WORKERS)]
    started = time.perf_counter()
    arguments = [*command, "--profile", "quick", "--report", str(report)]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    first = 0.0
    while process.poll() is None:
        if not first and report.exists() and b'"event":"cell"' in report.read_bytes():
            first = time.perf_counter() - started
        time.sleep(0.02)
    return process.returncode, first, time.perf_counter() - started


def main() -> int:
    """Print the costs; 0 if they are within the bounds."""
    import_seconds()  # compiles byte code, fills the disk cache
    imports = import_seconds()
    before = children_cpu_seconds()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "quick.events.jsonl"
        code, first, total = run(report)
        cpu = children_cpu_seconds() - before
        judged_cells = [cell for cell in read(report).cells if cell.verdict]
    print(f"{judged()}, quick profile, {WORKERS} workers, {len(judged_cells)} verdicts, exit code {code}")
    print(f"CPU {cpu:.1f} s (bound {CPU_BOUND:g}), wall {total:.1f} s")
    print(
        f"first verdict {first - imports:.1f} s after the imports (bound {FIRST_BOUND:g}); imports took {imports:.1f} s"
    )
    return 0 if code in ACCEPTED and cpu <= CPU_BOUND and first - imports <= FIRST_BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
