"""Calls that do not end well: stopped in the middle by an error or by their user, or such as cannot work at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from conformance.core.case import Case
from conformance.core.signals import RunFailed, violation
from conformance.devices.place_model import temporary_folder
from conformance.families.build import decoder_layers
from conformance.runs.calls import generate
from conformance.runs.judged_code import guarded
from conformance.runs.subject import Subject


def stop_midway(subject: Subject, case: Case, given: dict[str, Any], error: BaseException) -> None:
    """Generate on ``subject`` as ``case`` says, from ``given``, until a layer raises ``error`` in the second step.

    In the first, where there is no other. Raises a violation where the call answers all the same, and what it ends with
    where that is another error.
    """
    try:
        with _raising(error, subject, min(2, case.new_tokens)):
            generate(subject, case, given)
    except RunFailed as failed:
        if failed.error is not error:
            raise
    except BaseException as raised:
        if raised is not error:
            raise
    else:
        raise violation(f"generate, in which a layer raises {type(error).__name__}", "an answer", "the error")


def must_fail(call: str, run: Callable[[], object]) -> None:
    """Run judged code that cannot do what it is asked for. Raises a violation where it ends without an error."""
    try:
        guarded(call, run)
    except RunFailed:
        return
    raise violation(f"{call}, which cannot work", "no error", "an error")


@contextmanager
def cut_short(folder: Path) -> Iterator[Path]:
    """A copy of ``folder`` in which half of every file of weights is missing, as after a copy that broke off."""
    with temporary_folder() as name:
        copied = Path(shutil.copytree(folder, Path(name) / "cut-short"))
        for weights in copied.rglob("*.safetensors"):
            with weights.open("r+b") as file:
                file.truncate(weights.stat().st_size // 2)
        yield copied


@contextmanager
def _raising(error: BaseException, subject: Subject, step: int) -> Iterator[None]:
    """Within the block the last layer of the decoder raises ``error`` when it runs for the time number ``step``."""
    runs = 0

    def count(module: nn.Module, args: tuple[Any, ...]) -> None:
        nonlocal runs
        runs += 1
        if runs == step:
            raise error

    hook = decoder_layers(subject.base, subject.family)[-1].register_forward_pre_hook(count)
    try:
        yield
    finally:
        hook.remove()
