"""How far two right computations may be apart; ``Lab.error`` measures it. Imports no torch."""

from __future__ import annotations

ERROR_FACTOR = 10.0
"""The error of a Case is this many times the difference of two right computations of the base model's logits."""
ERROR_FLOOR, ERROR_CAP = 1e-5, 1e-3
"""The smallest and the largest error, relative to the spread of the logits. Beyond the cap nothing can be decided."""
CLEAR = 10.0
"""A difference between the error and this many errors is undecided."""
FLOAT32_MARGIN = 100
"""Where float64 cannot run, a float32 margin must exceed this many errors."""
