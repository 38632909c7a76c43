"""What an exception of the judged code means: a refusal in words, or a crash. Judged packages are made on the spot."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from conformance.core.signals import NotApplicable, RunFailed
from conformance.runs.calls import on_cpu
from conformance.runs.judged_code import guarded, nothing_is_refused, with_positions

SOURCE = """
import torch

def refuses(): raise ValueError("Prefix tuning does not work with `StaticCache`.")
def refuses_and_says_what_to_do(): raise ValueError("Kind not recognized. Please use one of MLP or LSTM.")
def refuses_a_class(): raise NotImplementedError("MambaCache cannot hold a prefix")
def refuses_a_method(): raise ValueError("CARTRIDGE does not work with gradient checkpointing.")
def refuses_every_method(): raise ValueError("Cannot set a prompt learning adapter to trainable when loading.")
def refuses_an_argument(): raise TypeError("past_key_values is not accepted here")
def refuses_in_an_except_block():
    try:
        {}["key"]
    except KeyError as error:
        raise ValueError("use_cache must be True") from error
def shouts(): raise ValueError("ERROR: it did not work")
def says_nothing(): raise ValueError("it did not work")
def asserts(): assert False, "past_key_values must be given"
def raises_an_assertion(): raise AssertionError("past_key_values must be given")
def misses_a_key(): return {}["past_key_values"]
def misses_an_attribute(): return None.get_seq_length
def shapes(): return torch.ones(2, 3) @ torch.ones(2, 3)
def in_torch(): return torch.nn.functional.embedding_bag(torch.ones(1, 1, 1, dtype=torch.long), torch.ones(2, 2))
def calls(other): return other()
"""


def module(folder: Path, name: str) -> Any:
    """A module that calls itself ``name``, without anything else learning of it."""
    path = folder.joinpath(*name.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SOURCE, "utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def failure(run: Callable[[], object], layer_ran: bool = False) -> RunFailed:
    with pytest.raises(RunFailed) as error:
        guarded("generate", run, lambda: layer_ran)
    return error.value


@pytest.mark.parametrize("package", ["peft.inner", "transformers.inner", "accelerate.inner"])
@pytest.mark.parametrize(
    "name",
    [
        "refuses",
        "refuses_and_says_what_to_do",
        "refuses_a_class",
        "refuses_a_method",
        "refuses_every_method",
        "refuses_an_argument",
        "refuses_in_an_except_block",
    ],
)
def test_a_raise_in_judged_code_that_names_something_is_a_refusal(tmp_path: Path, package: str, name: str) -> None:
    failed = failure(getattr(module(tmp_path, package), name))
    assert failed.refused
    assert failed.where.startswith(f"{package.replace('.', '/')}.py:")
    assert failed.where.endswith(f" {name}")


@pytest.mark.parametrize(
    "name",
    [
        "says_nothing",
        "shouts",
        "asserts",
        "raises_an_assertion",
        "misses_a_key",
        "misses_an_attribute",
        "shapes",
        "in_torch",
    ],
)
def test_anything_else_is_a_crash(tmp_path: Path, name: str) -> None:
    failed = failure(getattr(module(tmp_path, "peft.inner"), name))
    assert not failed.refused
    assert failed.where.endswith(f" {name}")


def test_what_was_answered_before_is_not_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFailed) as error, nothing_is_refused():
        guarded("generate", module(tmp_path, "peft.inner").refuses)
    assert not error.value.refused
    assert error.value.where == failure(module(tmp_path, "peft.inner").refuses).where


def test_after_a_layer_ran_there_are_no_refusals(tmp_path: Path) -> None:
    assert not failure(module(tmp_path, "peft.inner").refuses, layer_ran=True).refused


def test_code_that_is_not_judged_cannot_refuse(tmp_path: Path) -> None:
    outside, judged = module(tmp_path, "peftlike.inner"), module(tmp_path, "peft.inner")
    failed = failure(outside.refuses)
    assert (failed.refused, failed.where) == (False, "")
    through = failure(lambda: judged.calls(outside.refuses))
    assert not through.refused
    assert through.where.endswith(" calls")


def test_the_place_is_the_innermost_judged_line(tmp_path: Path) -> None:
    outer, inner = module(tmp_path, "peft.outer"), module(tmp_path, "transformers.inner")
    assert failure(lambda: outer.calls(inner.misses_a_key)).where.startswith("transformers/inner.py:")


@pytest.mark.parametrize("home", ["peft", "transformers"])
def test_a_checkout_called_like_a_judged_package_judges_nothing_else(tmp_path: Path, home: str) -> None:
    outside = module(tmp_path / home, "torchlike.inner")
    failed = failure(outside.refuses)
    assert (failed.refused, failed.where) == (False, "")
    inside = failure(module(tmp_path / home / "src", "peft.inner").refuses)
    assert inside.where == "peft/inner.py:4 refuses"


def test_a_function_of_theirs_that_takes_names_only_crashes_though_no_line_of_it_has_run() -> None:
    def by_name(*, text: int) -> int:
        return text

    with pytest.raises(RunFailed, match="takes 0 positional arguments but 1 was given") as raised:
        guarded("generate", lambda: with_positions("generate", by_name, 7))
    assert (raised.value.refused, raised.value.where) == (False, "")
    assert with_positions("generate", by_name, text=7) == 7


def test_a_type_error_from_inside_is_left_to_whoever_looks_at_its_place(tmp_path: Path) -> None:
    inside = failure(lambda: with_positions("generate", module(tmp_path, "peft.inner").calls, lambda: len(7)))  # type: ignore[arg-type]
    assert inside.where.endswith(" calls")


def test_our_own_signals_pass_through() -> None:
    def run() -> None:
        raise NotApplicable("no")

    with pytest.raises(NotApplicable):
        guarded("generate", run)


def test_what_runs_is_not_touched() -> None:
    assert torch.equal(guarded("generate", lambda: torch.ones(2)), torch.ones(2))


def test_an_answer_without_data_is_a_crash_of_who_gave_it() -> None:
    assert torch.equal(on_cpu("forward", torch.ones(2)), torch.ones(2))
    with pytest.raises(RunFailed, match="the answer has no data") as raised:
        on_cpu("forward", torch.ones(2, device="meta"))
    assert not raised.value.refused


@pytest.mark.parametrize("stands_in", ["conformance.methods.reference.inner", "conformance.mends.inner"])
def test_what_refuses_in_the_place_of_judged_code_is_a_refusal_too(tmp_path: Path, stands_in: str) -> None:
    inner, judged = module(tmp_path, stands_in), module(tmp_path, "peft.inner")
    assert failure(lambda: judged.calls(inner.refuses)).refused


def test_what_goes_wrong_in_a_mend_is_no_refusal(tmp_path: Path) -> None:
    inner, judged = module(tmp_path, "conformance.mends.inner"), module(tmp_path, "peft.inner")
    with pytest.raises(ValueError, match="it did not work"):
        guarded("generate", lambda: judged.calls(inner.says_nothing))
