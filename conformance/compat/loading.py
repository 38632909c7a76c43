"""How releases of transformers call the arguments of ``from_pretrained``."""

from __future__ import annotations

from typing import Any

import torch
from packaging.version import Version

from conformance.compat.versions import versions

DTYPE_SINCE = Version("4.56")
"""Before, ``dtype`` is called ``torch_dtype``."""


def from_pretrained_arguments(dtype: str, attention: str) -> dict[str, Any]:
    """The arguments that load weights in ``dtype`` with that implementation of attention."""
    name = "dtype" if Version(versions()["transformers"]) >= DTYPE_SINCE else "torch_dtype"
    asked = {} if attention == "default" else {"attn_implementation": attention}
    return {name: getattr(torch, dtype), **asked}
