"""One Finding as text."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from conformance.core.case import Prefix, from_json
from conformance.core.finding import Difference, Finding
from conformance.core.outcome import How
from conformance.core.story import Act
from conformance.report.finding import finding_text, link, repeat

pytestmark = pytest.mark.light


def test_it_reads_exactly_like_this(finding: Finding, golden: Path) -> None:
    assert finding_text(finding) + "\n" == (golden / "finding.txt").read_text("utf-8")


def test_a_crash_has_no_margin(finding: Finding, golden: Path) -> None:
    difference = Difference(what="generate raised", got="KeyError: 'layers'", expected="an answer")
    crash = replace(finding, how=How.CRASH, difference=difference, note="", sources=())
    assert finding_text(crash) + "\n" == (golden / "crash.txt").read_text("utf-8")


@pytest.mark.parametrize("name", ["a;touch x", "$(touch x)", "a b", "`x`", "x' y", "--help"])
def test_lines_for_a_shell_are_the_words_that_they_are_whatever_events_say(finding: Finding, name: str) -> None:
    hostile = replace(finding, clause=name, family=name, case=replace(finding.case, family=name), devices=name)
    words = shlex.split(repeat(hostile))
    assert words[:4] == ["peft-conformance", "replay", "--clause", name]
    assert from_json(words[4]).family == name
    assert words[5:] == ["--devices", name, "--family-file", f"{name}.toml"]
    (explain,) = [line for line in finding_text(hostile).splitlines() if line.strip().startswith("explain")]
    assert shlex.split(explain)[1:] == ["peft-conformance", "explain", name]


@settings(derandomize=True, database=None, deadline=None)
@given(said=st.text(max_size=2000))
def test_it_stays_short_whatever_was_got(said: str) -> None:
    difference = Difference(what=said or "w", got=said, expected=said, row=0, step=0, margin=1.0, error=0.0)
    lines = finding_text(_finding(difference, said)).split("\n")
    assert len(lines) <= 25


def _finding(difference: Difference, note: str) -> Finding:
    from conformance.core.case import Case
    from conformance.core.outcome import Blame

    return Finding(
        clause="a.b",
        statement="It holds.",
        family="llama",
        case=Case(family="llama"),
        features=(),
        how=How.WRONG,
        difference=difference,
        blame=Blame.PEFT,
        versions={},
        sources=("a/b#1",) * 9,
        note=note,
    )


def test_the_line_that_repeats_it_survives_a_shell(finding: Finding) -> None:
    odd = replace(finding, case=replace(finding.case, family='it\'s "mine"'))
    words = shlex.split(repeat(odd))
    assert words[:4] == ["peft-conformance", "replay", "--clause", "equivalence.step_logits"]
    assert from_json(words[4]) == odd.case


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("huggingface/peft#2134", "https://github.com/huggingface/peft/issues/2134"),
        ("arXiv:2101.00190", "https://arxiv.org/abs/2101.00190"),
        ("https://example.org/a#b", "https://example.org/a#b"),
    ],
)
def test_sources_are_addresses_where_they_can_be(source: str, address: str) -> None:
    assert link(source) == address


STORY = """\
  story     model = get_peft_model(base, PrefixTuningConfig(num_virtual_tokens=2, ...))
            model.add_adapter("second", PrefixTuningConfig(num_virtual_tokens=1, ...))
            model.save_pretrained("saved")
            with model.disable_adapter():
                model.load_adapter("saved/second", "third")
                model.set_adapter("third")
                answer = model.generate(**texts)
                model.generate(**longer_texts, past_key_values=answer.past_key_values)
            # outside disable_adapter() again
  here >>>  answer = model.generate(**first_text, prompt_lookup_num_tokens=2)
            model.generate(**texts)  # interrupted in the second step: Ctrl-C
            model.delete_adapter("second")
            model = get_peft_model(new_base, config_of("saved")); model.load_adapter("saved", "default")
            model.train(); model(**first_text, labels=...).loss.backward(); optimizer.step(); model.eval()
            model.generate(**texts)  # an error is raised in the second step
"""


def test_a_story_reads_like_a_program_and_the_step_that_showed_it_is_marked(finding: Finding) -> None:
    acts = (
        Act(do="add", adapter="second", other_length=True),
        Act(do="save"),
        Act(do="disable"),
        Act(do="load", adapter="third", source="second"),
        Act(do="switch", adapter="third"),
        Act(),
        Act(do="go_on"),
        Act(do="enable"),
        Act(decoding="looked_up"),
        Act(do="interrupt"),
        Act(do="delete", adapter="second"),
        Act(do="resume"),
        Act(do="train"),
        Act(do="raise"),
    )
    case = replace(finding.case, prefix=Prefix(length=2), story=acts)
    told = replace(finding, case=case, difference=replace(finding.difference, told=8))
    assert STORY in finding_text(told)
    assert f"'{case.to_json()}'" in repeat(told)
