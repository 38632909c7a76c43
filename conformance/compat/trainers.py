"""Trainers of older releases, which read their own checkpoints with torch.load and do not say that they trust them."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock


def own_checkpoints_are_read() -> AbstractContextManager[Any]:
    """Inside, a checkpoint that was written in this process is read, its random numbers and arguments included.

    Since 2.6 torch.load refuses what they hold, unless its caller says otherwise, as newer releases do.
    """
    return mock.patch.dict(os.environ, {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"})
