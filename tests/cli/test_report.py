"""``peft-conformance report``: many events files in, a report out, whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., "tuple[int, str, str]"]
GOLDEN = Path(__file__).parents[1] / "golden"
MATRIX = sorted(map(str, (GOLDEN / "matrix").glob("*.jsonl")))


def test_a_summary_and_a_page_are_written(call: Call, tmp_path: Path) -> None:
    code, out, err = call("report", "merge", *MATRIX, "--out", "new/report")
    assert (code, err) == (0, "")
    assert out == "8 pairs, 48 results, 3 violations: new/report/summary.md and new/report/index.html\n"
    assert sorted(path.name for path in (tmp_path / "new" / "report").iterdir()) == ["index.html", "summary.md"]
    assert (tmp_path / "new" / "report" / "summary.md").read_bytes() == (GOLDEN / "merged-summary.md").read_bytes()


def test_the_table_of_versions_is_written(call: Call, tmp_path: Path) -> None:
    assert call("report", "versions", *MATRIX, "--out", "docs/versions.md")[0] == 0
    assert (tmp_path / "docs" / "versions.md").read_bytes() == (GOLDEN / "versions.md").read_bytes()


def test_the_same_files_in_another_order_give_the_same_bytes(call: Call, tmp_path: Path) -> None:
    call("report", "merge", *MATRIX, "--out", "one")
    call("report", "merge", *reversed(MATRIX), *MATRIX, "--out", "other")
    for name in ("summary.md", "index.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_a_report_replaces_an_older_one(call: Call, tmp_path: Path) -> None:
    call("report", "merge", *MATRIX, "--out", "report")
    before = (tmp_path / "report" / "index.html").read_bytes()
    call("report", "merge", MATRIX[0], "--out", "report")
    assert (tmp_path / "report" / "index.html").read_bytes() != before
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["index.html", "summary.md"]


def damaged(tmp_path: Path, how: str) -> str:
    lines = Path(MATRIX[0]).read_bytes().split(b"\n")
    if how == "foreign":
        lines = [b'{"type":"other"}']
    elif how == "cut in the header":
        lines = [lines[0][:50]]
    elif how == "damaged in the middle":
        lines[2] = lines[2][:50]
    else:
        lines[0] = lines[0].replace(b'"peft":', b'"peff":')
    (tmp_path / "damaged.jsonl").write_bytes(b"\n".join(lines))
    return "damaged.jsonl"


@pytest.mark.parametrize("how", ["foreign", "cut in the header", "damaged in the middle", "of no pair"])
def test_one_bad_file_is_named_and_nothing_is_written(call: Call, tmp_path: Path, how: str) -> None:
    name = damaged(tmp_path, how)
    code, out, err = call("report", "merge", *MATRIX, name, "--out", "report")
    assert (code, out) == (2, "")
    assert err.startswith("malformed-events: damaged.jsonl: ")
    assert "\n  cause: " in err
    assert "\n  cure:  " in err
    assert not (tmp_path / "report").exists()


def test_a_file_whose_end_is_missing_is_incomplete(call: Call, tmp_path: Path) -> None:
    whole = (GOLDEN / "matrix" / "mended.jsonl").read_bytes()
    (tmp_path / "cut.jsonl").write_bytes(whole[: whole.rindex(b'{"counts"') + 10])
    assert call("report", "merge", "cut.jsonl", "--out", "report")[0] == 0
    summary = (tmp_path / "report" / "summary.md").read_text("utf-8")
    assert "| 4.45.1 | **incomplete**<br>9 conforms of 9 |" in summary
    assert "a run did not finish" in summary


def test_where_nothing_can_be_written_nothing_is(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", "utf-8")
    (tmp_path / "folder" / "index.html").mkdir(parents=True)
    for out in ("file", "folder"):
        code, said, err = call("report", "merge", *MATRIX, "--out", out)
        assert (code, said) == (2, "")
        assert err.startswith("unwritable-report: ")
    assert (tmp_path / "file").read_text("utf-8") == "mine"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["index.html"]
    shutil.rmtree(tmp_path / "folder")


@pytest.mark.parametrize("arguments", [("merge", "--out", "x"), ("merge", "x"), ("versions", "x"), ("none",)])
def test_wrong_use_exits_2(call: Call, arguments: tuple[str, ...]) -> None:
    assert call("report", *arguments)[0] == 2
