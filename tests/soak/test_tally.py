"""Sums, shares and exit codes of a soak, and the line that repeats an alarm."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from msgspec.structs import replace

from conformance.core.case import Case, from_json
from conformance.core.errors import UserError
from conformance.core.finding import Item
from conformance.soak.table import table
from conformance.soak.tally import Alarm, Count, Tally, merged, read, write

pytestmark = pytest.mark.light

CASE = Case(family="llama", seed=3)
ITEM, OTHER = Item("masks.row_order", "llama"), Item("masks.row_order", "gpt2")
ALARM = Alarm(subject="reference", item=ITEM, seed=7, word="violates", what="the logits differ", case=CASE)


def tally(conforms: int = 0, undecided: int = 0, silent: int = 0, refused: int = 0, item: Item = ITEM) -> Tally:
    words = {"conforms": conforms, "undecided": undecided, "not applicable": silent, "refused": refused}
    count = Count(
        subject="reference",
        item=item,
        words={word: number for word, number in words.items() if number},
        reasons={"undecided: too close": undecided} if undecided else {},
    )
    return Tally(counts=(count,), cpu_seconds=0.5, complete=True)


def test_what_does_not_apply_or_is_refused_is_not_judged() -> None:
    found = merged([tally(conforms=300, undecided=3, silent=90), tally(refused=40)])
    assert found.judged == 303
    assert found.undecided == pytest.approx(3 / 303)


def test_sums_are_by_subject_and_item_and_keep_the_alarms() -> None:
    found = merged([tally(conforms=2), tally(conforms=3, undecided=1), tally(conforms=5, item=OTHER)])
    assert [(count.item, count.words) for count in found.counts] == [
        (OTHER, {"conforms": 5}),
        (ITEM, {"conforms": 5, "undecided": 1}),
    ]
    assert found.counts[1].reasons == {"undecided: too close": 1}
    assert found.cpu_seconds == 1.5
    assert merged([tally(1), Tally(alarms=(ALARM,))]).alarms == (ALARM,)


def test_a_sum_is_not_complete_by_itself() -> None:
    assert not merged([tally(conforms=1)]).complete


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (tally(conforms=100), 0),
        (tally(conforms=99, undecided=1), 0),
        (tally(conforms=98, undecided=2), 1),
        (replace(tally(conforms=100), alarms=(ALARM,)), 1),
        (replace(tally(conforms=100), alarms=(replace(ALARM, case=None, word="broken harness"),)), 3),
        (replace(tally(conforms=100), complete=False), 3),
        (tally(silent=100), 5),
        (Tally(complete=True), 5),
    ],
)
def test_the_exit_code_says_the_gravest(found: Tally, code: int) -> None:
    assert found.exit_code == code


def test_an_alarm_is_repeated_by_the_line_that_it_prints() -> None:
    line = shlex.split(ALARM.repeat)
    assert line[:-1] == shlex.split("peft-conformance soak --subjects reference --clauses masks.row_order --case")
    assert from_json(line[-1]) == CASE


def test_a_piece_of_work_that_broke_is_repeated_as_a_whole() -> None:
    broken = Alarm(subject="reference", item=Item("*", "llama"), seed=7, word="broken harness", what="it ended")
    assert broken.repeat == (
        "peft-conformance soak --subjects reference --clauses '*' --families llama --methods PREFIX_TUNING --seed 7"
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "soak.json"
    write(replace(tally(conforms=3), alarms=(ALARM,)), file)
    assert read(file) == replace(tally(conforms=3), alarms=(ALARM,))
    assert [path.name for path in tmp_path.iterdir()] == ["soak.json"]


def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "soak.json"
    file.write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="not the file of a soak"):
        read(file)


def test_the_table_has_a_line_for_each_clause_and_says_what_is_undecided() -> None:
    lines = list(table(replace(merged([tally(conforms=8, undecided=2), tally(conforms=4, item=OTHER)]), complete=True)))
    assert lines == [
        "judged examples; behind the slash those that are undecided",
        "                               gpt2     llama",
        "reference masks.row_order         4      10/2",
        "     2 reference masks.row_order[llama] undecided: too close",
        "14 examples of healthy subjects judged, 0 alarms, 14.29% undecided, 1 CPU seconds (71.4 ms an example)",
    ]
