"""The page: what it says, that it loads nothing, runs nothing and escapes everything, and how large it gets."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from conformance.core.outcome import TABLE
from conformance.core.pair import Pair
from conformance.report.merged import Merged, merge_runs
from conformance.report.page import FAILURES, TEXT, html_page
from conformance.session.reader import read_events

pytestmark = pytest.mark.light

STYLES = Path(__file__).parents[2] / "conformance" / "report" / "templates" / "page.css"


class Elements(HTMLParser):
    """Every element with its attributes, and all text but that of the style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture
def matrix(golden: Path) -> Merged:
    """Nine recorded files of eight pairs."""
    return merge_runs(read_events(file) for file in (golden / "matrix").glob("*.jsonl"))


def test_it_is_exactly_this_page(matrix: Merged, golden: Path) -> None:
    assert html_page(matrix).replace(STYLES.read_text("utf-8"), "/* page.css */\n") == (golden / "page.html").read_text(
        "utf-8"
    )


def test_it_loads_nothing_and_runs_nothing(matrix: Merged) -> None:
    elements = Elements(html_page(matrix))
    assert not {tag for tag, _ in elements.found} & {"script", "iframe", "img", "object", "embed", "form", "base"}
    assert [link["href"] for link in elements.all("link")] == ["data:,"]
    assert "@import" not in STYLES.read_text("utf-8")
    assert "url(" not in STYLES.read_text("utf-8")


def test_every_link_leads_to_a_part_of_the_page_or_to_https(matrix: Merged) -> None:
    elements = Elements(html_page(matrix))
    names = [str(attributes["id"]) for _, attributes in elements.found if attributes.get("id")]
    assert len(names) == len(set(names))
    for link in elements.all("a"):
        address = str(link["href"])
        assert address.removeprefix("#") in names if address.startswith("#") else address.startswith("https://")


@settings(derandomize=True, database=None, deadline=None, max_examples=30)
@given(
    odd=st.sampled_from(["<script>x</script>", '"><b>', "'><b id=f1>", "&lt;b>", "{{ 1 + 1 }}", "javascript:alert(1)"])
)
def test_every_text_is_escaped_wherever_it_stands(odd: str) -> None:
    """The elements are those of the same page with harmless texts."""
    assert shape(odd) == shape("harmless")


def shape(text: str) -> list[tuple[str, list[str]]]:
    """The elements of a page in which ``text`` is everywhere, with the names of their attributes."""
    matrix = merge_runs(
        read_events(file) for file in (STYLES.parents[3] / "tests" / "golden" / "matrix").glob("*.jsonl")
    )
    finding, known = matrix.failures[0].finding, matrix.known[0]
    difference = replace(finding.difference, what=text, got=text, expected=text)
    odd = replace(finding, clause=text, statement=text, family=text, difference=difference, where=text, sources=(text,))
    elements = Elements(
        html_page(
            replace(
                matrix,
                pairs=tuple(
                    replace(
                        pair,
                        pair=Pair(f"{text}{n}", pair.pair.transformers),
                        notes=(text,),
                        why=(text,),
                        facts={text: (text,)},
                        subjects={"known": (text,)},
                    )
                    for n, pair in enumerate(matrix.pairs)
                ),
                subjects=(text, *matrix.subjects[1:]),
                failures=(replace(matrix.failures[0], finding=odd, also=(odd,)),),
                undecided=tuple(replace(reason, text=text) for reason in matrix.undecided),
                known=(replace(known, id=text, function=text, reason=text, links=(text,), why=(text,), finding=odd),),
                notes=(text,),
            )
        )
    )
    return [(tag, sorted(attributes)) for tag, attributes in elements.found]


def test_words_are_explained_and_every_table_has_headers(matrix: Merged) -> None:
    text = html_page(matrix)
    said = " ".join(Elements(text).said)
    assert all(word in said and row.meaning in said for word, row in TABLE.items())
    for table in re.findall("<table.*?</table>", text, re.DOTALL):
        assert "<thead><tr><th scope=" in table
        assert re.search('<th scope="?row"?>', table)


def test_nothing_of_an_unfinished_run_is_green(matrix: Merged) -> None:
    text = html_page(matrix)
    (details,) = re.findall(r'<details class="(.)">\n<summary><b>PEFT 0.14.0 with transformers 5.23.0</b>', text)
    assert details == "q"
    place = matrix.places()[Pair("0.14.0", "5.23.0")]
    assert '<table class="grid grey">' in text.partition(f'id="p{place}"')[2].partition("</details>")[0]
    assert text.count('<table class="grid grey">') == 1


def test_another_method_has_a_column_of_its_own(two_methods: Merged) -> None:
    text = html_page(two_methods)
    assert "<th scope=col>llama<th scope=col>llama/P_TUNING<th scope=col>qwen2<th scope=col>t5\n" in text
    assert "<tr><th scope=row>step_logits<td class=V><a href=#f1>V</a><td>c<td class=V>" in text
    assert "<tr><th scope=row>rows_alone<td class=K><a href=#k2>K</a><td>c<td class=B>B<td class=r>r\n" in text


def test_a_letter_leads_to_what_it_stands_for_or_nowhere(matrix: Merged) -> None:
    assert "<td class=V><a href=#f2>V</a>" in html_page(matrix)
    assert "<td class=K><a href=#k1>K</a>" in html_page(matrix)
    also_known = replace(matrix.known[0], at=matrix.failures[1].at)
    without = html_page(replace(matrix, failures=(), known=(also_known,)))
    assert "<td class=V>V" in without
    assert "<td class=V><a" not in without


def test_what_is_left_out_is_said(matrix: Merged) -> None:
    many = replace(matrix, failures=matrix.failures[:1] * (FAILURES + 5))
    text = html_page(many)
    assert text.count('<div id="f') == FAILURES
    assert f"<li>violation: 5 of {FAILURES + 5}</li>" in text
    finding = replace(matrix.failures[0].finding, statement="x" * (TEXT + 5000))
    text = html_page(replace(matrix, failures=(replace(matrix.failures[0], finding=finding),)))
    assert "more characters are in the events" in text
    assert "x" * (TEXT + 1) not in text


def test_no_failure_no_known_one_and_no_pair_make_a_page_too() -> None:
    text = html_page(merge_runs([]))
    assert '<div class="x"><dt>conforms</dt><dd>none of the pairs' in text
    assert "No violation was found" in text


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it."""
    return (max(light(one), light(other)) + 0.05) / (min(light(one), light(other)) + 0.05)


def light(colour: str) -> float:
    digits = colour.removeprefix("#")
    wide = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    parts = [int(wide[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", [0, 1])
def test_ink_and_paper_differ_enough_in_light_and_dark(scheme: int) -> None:
    block = re.findall(r":root \{(.*?)\}", STYLES.read_text("utf-8"), re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#\w+)", block))
    pairs = [("ink", "paper"), ("soft", "paper"), ("link", "paper"), ("ink", "code"), ("focus", "paper")]
    pairs += [(f"{name}-ink", name) for name in ("good", "bad", "known", "lost", "grey")]
    assert all(contrast(colours[ink], colours[paper]) >= 4.5 for ink, paper in pairs)
