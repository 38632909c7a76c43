"""Events: what is written can be read, and nothing else can."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from conformance.core.errors import UserError
from conformance.core.finding import encode
from conformance.session.events import AnyEvent, Footer, Judged, Run, Started, schema
from conformance.session.reader import read_events
from conformance.session.writer import Writer

pytestmark = pytest.mark.light


def written(path: Path, run: Run) -> Path:
    """``run`` as an events file."""
    writer = Writer(path)
    ends = () if run.footer is None else (run.footer,)
    starts = (Started(item=item) for item in run.running)
    for event in (run.header, *(Judged(cell=cell) for cell in run.cells), *run.known, *starts, *ends):
        writer.write(event)
    writer.close()
    return path


def test_what_is_written_is_read(tmp_path: Path, run: Run) -> None:
    assert read_events(written(tmp_path / "events.jsonl", run)) == run


def test_a_file_cut_anywhere_is_incomplete_or_refused_but_never_complete(tmp_path: Path, run: Run) -> None:
    whole = written(tmp_path / "events.jsonl", replace(run, cells=run.cells[:2])).read_bytes().rstrip(b"\n")
    header = whole.index(b"\n")
    for end in range(0, len(whole), 7):
        (tmp_path / "cut.jsonl").write_bytes(whole[:end])
        if end >= header:
            assert read_events(tmp_path / "cut.jsonl").footer is None
        else:
            with pytest.raises(UserError) as caught:
                read_events(tmp_path / "cut.jsonl")
            assert caught.value.code == "malformed-events"


def test_a_run_that_died_says_on_what(tmp_path: Path, run: Run) -> None:
    cut = replace(run, footer=None, running=("masks.rows_alone[opt]",))
    assert read_events(written(tmp_path / "events.jsonl", cut)).running == ("masks.rows_alone[opt]",)


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"\n\n",
        b"not json\n",
        b"\xff\xfe\x00\n",
        b'{"event":"header"}\n',
        b'{"event":"footer","exit_code":0,"counts":{},"seconds":1}\n',
        b'{"type":"other","events":[]}\n',
        b"[]\n",
    ],
)
def test_a_foreign_file_is_refused(tmp_path: Path, lines: bytes) -> None:
    (tmp_path / "foreign").write_bytes(lines)
    with pytest.raises(UserError, match="foreign") as caught:
        read_events(tmp_path / "foreign")
    assert caught.value.code == "malformed-events"


def test_order_is_checked(tmp_path: Path, run: Run) -> None:
    header, start, footer = (
        encode(run.header),
        encode(Started(item="x")),
        encode(Footer(exit_code=0, counts={}, seconds=0.0)),
    )
    for lines in ((start, header), (header, header), (header, footer, start)):
        (tmp_path / "events").write_text("\n".join(lines) + "\n", "utf-8")
        with pytest.raises(UserError):
            read_events(tmp_path / "events")


def test_another_schema_version_and_unknown_keys_are_refused(tmp_path: Path, run: Run) -> None:
    line = encode(run.header)
    for changed in (line.replace('"schema":3', '"schema":4'), line.replace('"schema":3', '"schema":3,"mood":"good"')):
        assert changed != line
        (tmp_path / "events").write_text(changed + "\n", "utf-8")
        with pytest.raises(UserError):
            read_events(tmp_path / "events")


@pytest.mark.parametrize("name", ["broken", "mended"])
def test_a_file_of_version_1_is_read_as_one_about_prefix_tuning(tmp_path: Path, golden: Path, name: str) -> None:
    file = golden / "matrix" / f"{name}.jsonl"
    assert '"schema":1' in file.read_text("utf-8")
    assert '"method"' not in file.read_text("utf-8")
    old = read_events(file)
    assert old.header.schema == 1
    assert {cell.method for cell in old.cells} | {replay.method for replay in old.known} == {"PREFIX_TUNING"}
    assert len(old.cells) == 9
    assert old.footer
    again = read_events(written(tmp_path / "new.jsonl", replace(old, header=replace(old.header, schema=2))))
    assert replace(again, header=old.header) == old


def test_a_missing_file_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_events(tmp_path / "none")


def test_a_path_that_cannot_be_written_is_a_user_error(tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "folder", tmp_path):
        with pytest.raises(UserError) as caught:
            Writer(path)
        assert caught.value.code == "unwritable-report"


def test_every_line_is_on_the_disk_at_once(tmp_path: Path, run: Run) -> None:
    writer = Writer(tmp_path / "events")
    writer.write(run.header)
    assert os.path.getsize(tmp_path / "events") > 0
    writer.close()


def test_the_schema_names_every_event_and_refuses_unknown_keys() -> None:
    events = schema("events")
    assert set(events["discriminator"]["mapping"]) == {"header", "start", "cell", "known", "footer"}
    assert all(events["$defs"][name]["additionalProperties"] is False for name in ("Header", "Footer", "Judged"))
    assert schema("case")["$defs"]["Case"]["additionalProperties"] is False


def test_every_event_of_a_run_decodes_to_itself(run: Run) -> None:
    for event in (run.header, *(Judged(cell=cell) for cell in run.cells), *run.known):
        assert msgspec.json.decode(encode(event), type=AnyEvent) == event
