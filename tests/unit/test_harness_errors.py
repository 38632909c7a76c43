"""Whose an exception is: one that this package itself raises is never blamed on what is judged."""

from __future__ import annotations

import pytest

from conformance.core.signals import RunFailed
from conformance.devices import maps
from conformance.devices.simulated.rule import DeviceMismatch
from conformance.runs.judged_code import guarded


def test_an_exception_of_this_package_passes_through() -> None:
    from conformance.runs.makers import _told_again

    with pytest.raises(AttributeError):
        guarded("from_pretrained", lambda: _told_again(None, None, None))  # type: ignore[arg-type]


def test_one_of_torch_or_of_a_simulated_device_is_a_crash() -> None:
    def mismatch() -> None:
        raise DeviceMismatch("Expected all tensors to be on the same device")

    with pytest.raises(RunFailed):
        guarded("generate", mismatch)
    with pytest.raises(RunFailed):
        guarded("generate", lambda: maps.device_map(None, "", None, ()))  # type: ignore[arg-type]
