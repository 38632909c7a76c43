"""Healthy subjects, held against every clause over a hundred thousand examples: each violation that is seen is a bug of ours."""

from conformance.soak.subjects import SUBJECTS
from conformance.soak.tally import Alarm, Tally

__all__ = ["SUBJECTS", "Alarm", "Tally"]
