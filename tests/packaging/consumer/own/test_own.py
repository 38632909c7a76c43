from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest


def test_models_is_the_consumers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent.parent), *sys.path])
    assert import_module("models").OWNER == "the consumer"
