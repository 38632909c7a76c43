"""How many planted faults a run of so many CPU seconds finds, from cold, imports included.

The same as `peft-conformance faults --budget 10s,30s,60s`, with a bound: half of the faults on plain models must be found within
10 s. Faults in how models are placed are found after all others in a run whose time is short, and are left out unless named.
"""

from __future__ import annotations

import argparse
import sys
import warnings

from conformance.compat.versions import judged
from conformance.faults.detection import named_clause
from conformance.faults.registry import faults
from conformance.session import kill_curve
from conformance.worker import collector

LIMITS = (10.0, 30.0, 60.0)
MEDIAN_BOUND = 10.0


def main() -> int:
    """Print the curve; 0 if the median is within the bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", help="faults to plant; all on plain models if none is named")
    chosen = parser.parse_args().faults or [id for id, fault in faults().items() if not named_clause(fault).placed]
    collector.calm()
    warnings.simplefilter("ignore")
    rows = []
    for row in kill_curve.kills(chosen, LIMITS[-1]):
        rows.append(row)
        print(f"{row.fault}: {'not found' if row.seconds is None else f'{row.seconds:g} s, {row.item}'}", flush=True)
    print(f"{judged()}:", *kill_curve.lines(rows, LIMITS), sep="\n")
    return 0 if 2 * kill_curve.found_within(rows, MEDIAN_BOUND) >= len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
