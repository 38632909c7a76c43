"""Make every process of a run judge the miniatures, with short limits, and fail where it is told to."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

sys.path.insert(1, str(Path(__file__).parents[1] / "miniature"))
torch = ModuleType("torch")  # nothing runs a model here
torch.set_num_threads = lambda count: None  # type: ignore[attr-defined]
torch.__file__ = __file__
sys.modules["torch"] = torch
import_module("miniature").install()

from conformance.session import judge  # noqa: E402
from conformance.worker import child  # noqa: E402

# Only who hangs is waited for in vain; on a busy machine a child needs seconds to begin.
HANGS = os.environ.get("INJECT", "").startswith(("hang", "stop"))
judge.SECONDS = 3.0 if HANGS else 45.0  # type: ignore[attr-defined]  # where it is used
judge.SECONDS_PER_EXAMPLE, child.WRITING, child.ENDING = 0.0, 0.05, 1.0
import_module("inject").install()
