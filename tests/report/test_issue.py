"""The issue of a night: what it says of the stacks and of the soak."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from conformance.core.case import Case
from conformance.core.finding import Item
from conformance.report.issue import issue_news, issue_text, issue_title
from conformance.report.nights import Night, Soaked, Stack, after, read_soak
from conformance.soak import tally as tallies
from conformance.soak.tally import Alarm, Count, Tally

pytestmark = pytest.mark.light

Nights = Callable[..., Night]
Stacks = Callable[..., Stack]


def soaked(path: Path, *, alarms: int = 0, complete: bool = True) -> Soaked:
    item = Item("masks.row_order", "llama")
    alarm = Alarm(
        subject="reference", item=item, seed=7, word="violates", what="they differ", case=Case(family="llama")
    )
    counts = Count(subject="reference", item=item, words={"conforms": 299, "undecided": 1, "not applicable": 5})
    (path / "events-soak").mkdir(exist_ok=True)
    tally = Tally(counts=(counts,), alarms=(alarm,) * alarms, complete=complete)
    tallies.write(tally, path / "events-soak" / "soak.json")
    return read_soak(path)


def test_the_text_of_the_issue(night: Nights, judged: Stacks) -> None:
    before = night(judged("one", 1, violated="a b d"))
    lost = Stack(name="lost", why="left | no\nevents")
    kept, changes = after(before, night(judged("one", 1, violated="b c", a="conforms"), lost, judged("two"), run="2"))
    assert issue_title(kept) == "Nightly conformance: 2 of 3 stacks red"
    assert issue_news(kept, changes) == "1 new violation in [run 2](https://example.org/2)."
    assert (
        issue_text(kept, changes, before)
        == """\
[Run 2](https://example.org/2), compared with [run 1](https://example.org/1). The run has the page as its artifact `report`.

| stack | releases | result | violations |
|---|---|---|---|
| one |  | \N{LARGE RED CIRCLE} violation | 2 |
| lost |  | \N{LARGE RED CIRCLE} left \\| no events | 0 |

### New: 1 violation

- `c` on one: wrong answer

```console
# one
peft-conformance replay it
```

### Still there: 1 violation

- `b` on one: wrong answer

### Gone: 1 violation

- `a` on one: now conforms

### Not judged tonight: 1 violation

- `d` on one: not reached
"""
    )


def test_a_night_with_thousands_of_violations_fits_into_an_issue(night: Nights, judged: Stacks) -> None:
    items = " ".join(f"equivalence.forward_agrees_with_generate[family{number}]" for number in range(3000))
    before = night(judged("one", 1, violated=items))
    for tonight in (night(judged("one", 1, violated=items)), night(judged("one"))):
        _, changes = after(before, tonight)
        text = issue_text(tonight, changes, before)
        assert "- and 2940 more" in text
        assert len(text) < 65_536


def test_the_soak_is_told_with_the_sum_of_all_nights(tmp_path: Path, night: Nights, judged: Stacks) -> None:
    first, _ = after(None, replace(night(judged("one")), soaked=soaked(tmp_path)))
    second, changes = after(first, replace(night(judged("one")), soaked=soaked(tmp_path)))
    assert not second.red
    assert (
        "\n\nSoak: \N{LARGE GREEN CIRCLE} 300 examples tonight, 0.33 % undecided, 0 alarms; 600 examples in all nights\n"
        in issue_text(second, changes, first)
    )


def test_an_alarm_makes_a_night_red_and_is_news(tmp_path: Path, night: Nights, judged: Stacks) -> None:
    tonight, changes = after(None, replace(night(judged("one")), soaked=soaked(tmp_path, alarms=2)))
    assert tonight.red
    assert issue_title(tonight) == "Nightly conformance: 0 of 1 stack red, and the soak"
    assert issue_news(tonight, changes) == "2 alarms in [run 1](https://example.org/1)."
    text = issue_text(tonight, changes, None)
    assert "\N{LARGE RED CIRCLE} 300 examples tonight, 0.33 % undecided, 2 alarms; 300 examples in all nights\n" in text
    assert "```console\npeft-conformance soak --subjects reference --clauses masks.row_order --case" in text


def test_a_soak_that_was_cut_or_left_nothing_is_red(tmp_path: Path, night: Nights, judged: Stacks) -> None:
    assert read_soak(tmp_path).code == 3
    assert soaked(tmp_path, complete=False).code == 3
    (tmp_path / "events-soak" / "soak.json").write_text("{", "utf-8")
    assert "not the file of a soak" in read_soak(tmp_path).why
    lost, changes = after(None, replace(night(judged("one")), soaked=read_soak(tmp_path / "elsewhere")))
    assert lost.red
    text = issue_text(lost, changes, None)
    assert (
        "Soak: \N{LARGE RED CIRCLE} left nothing: it could not be installed, or its machine was lost; 0 examples in"
        in text
    )


def test_a_green_night_says_since_when(night: Nights, judged: Stacks) -> None:
    assert issue_title(night(judged("one"), run="4")) == "All stacks conform since run 4: https://example.org/4"
