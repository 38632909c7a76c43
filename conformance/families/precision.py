"""In what a Case computes, where its dtype alone does not say it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from conformance.core.case import Case


def autocasting(case: Case) -> AbstractContextManager[Any]:
    """Inside, torch's autocast to bfloat16, if ``case`` is run under it."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=case.autocast)
