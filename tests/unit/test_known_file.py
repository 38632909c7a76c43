from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from msgspec.structs import replace

from conformance.core.case import Case, Prefix, Row
from conformance.core.errors import UserError
from conformance.core.features import features
from conformance.core.finding import Difference, Finding
from conformance.core.outcome import Blame, How
from conformance.engine import known
from conformance.engine.known import KnownFailure, load, shipped
from conformance.families.traits import traits
from conformance.session.selection import check_entries

CASE = Case(family="mistral", prefix=Prefix(length=3), rows=(Row(length=3), Row()))
VERSIONS = {"peft": "0.21.2", "transformers": "5.23.0"}
FINDING = Finding(
    clause="masks.rows_alone",
    statement="",
    family="mistral",
    case=CASE,
    features=tuple(sorted(features(CASE))),
    how=How.WRONG,
    difference=Difference(what="", got="", expected=""),
    blame=Blame.PEFT,
    versions=VERSIONS,
)
ENTRY = KnownFailure(
    id="window",
    clauses=("masks.*", "equivalence.step_logits"),
    families=("mistral", "gemma?"),
    how=How.WRONG,
    features=("left_padded", "n_equals_prompt"),
    without=("projection",),
    peft=">=0.20",
    transformers="<6",
    function="transformers.cache_utils.f",
    mend="package.mends:skip_pads",
    reason="counts pads",
    clause="masks.rows_alone",
    case=CASE,
)
TEXT = """
schema = 1

[[failure]]
id = "window"
clauses = ["masks.*"]
families = ["mistral"]
how = "wrong answer"
features = ["left_padded"]
without = ["projection"]
peft = ">=0.20"
transformers = "<6"
function = "transformers.cache_utils.f"
mend = "package.mends:skip_pads"
reason = "counts pads"
clause = "masks.rows_alone"

[failure.case]
family = "mistral"
rows = [{ length = 3 }, {}]
"""


def test_an_entry_matches_its_own_failure() -> None:
    assert ENTRY.resembles(FINDING)


@pytest.mark.parametrize(
    "finding",
    [
        replace(FINDING, clause="positions.skip_padding"),
        replace(FINDING, family="llama"),
        replace(FINDING, case=replace(CASE, method="P_TUNING")),
        replace(FINDING, how=How.CRASH),
        replace(FINDING, features=("left_padded",)),
        replace(FINDING, features=(*FINDING.features, "projection")),
        replace(FINDING, versions={**VERSIONS, "peft": "0.19.1"}),
        replace(FINDING, versions={**VERSIONS, "transformers": "6.0"}),
    ],
    ids=["clause", "family", "method", "how", "feature missing", "feature too many", "peft", "transformers"],
)
def test_an_entry_does_not_match_another_failure(finding: Finding) -> None:
    assert not ENTRY.resembles(finding)


@pytest.mark.parametrize(
    "finding", [replace(FINDING, family="gemma3"), replace(FINDING, clause="equivalence.step_logits")]
)
def test_names_and_globs_both_match(finding: Finding) -> None:
    assert ENTRY.resembles(finding)


def test_an_entry_that_names_no_family_speaks_of_all_and_of_prefix_tuning() -> None:
    entry = KnownFailure(**{name: getattr(ENTRY, name) for name in ENTRY.__struct_fields__ if name != "families"})
    assert (entry.families, entry.methods) == (("*",), ("PREFIX_TUNING",))
    assert entry.resembles(replace(FINDING, family="llama"))
    assert not entry.resembles(replace(FINDING, family="llama", case=replace(CASE, method="P_TUNING")))


def test_an_entry_that_does_not_say_how_speaks_of_crashes_and_wrong_answers() -> None:
    entry = replace(ENTRY, how=None)
    assert all(entry.resembles(replace(FINDING, how=how)) for how in How)


def test_a_crash_is_told_by_its_words_too() -> None:
    entry = replace(ENTRY, how=How.CRASH, words="KeyError: *cache*")
    crash = replace(
        FINDING, how=How.CRASH, difference=Difference(what="", got="KeyError: 'cache_position'", expected="")
    )
    assert entry.resembles(crash)
    assert not entry.resembles(replace(crash, difference=replace(crash.difference, got="KeyError: 'layers'")))


def test_an_entry_names_methods_by_globs() -> None:
    entry = replace(ENTRY, methods=("P_*", "PROMPT_TUNING"))
    for method, matches in (("P_TUNING", True), ("PROMPT_TUNING", True), ("PREFIX_TUNING", False)):
        assert entry.resembles(replace(FINDING, case=replace(CASE, method=method))) is matches


def test_an_entry_speaks_of_traits_of_the_model_as_of_features_of_the_case() -> None:
    entry = replace(ENTRY, features=("rotary",), without=("encoder_decoder",))
    assert not entry.resembles(FINDING)
    assert entry.resembles(replace(FINDING, features=(*FINDING.features, "rotary")))
    assert not entry.resembles(replace(FINDING, features=(*FINDING.features, "rotary", "encoder_decoder")))


def test_a_crash_is_told_by_its_place_on_whatever_line() -> None:
    entry = replace(ENTRY, how=How.CRASH, where="peft/utils/integrations.py:* get_layer_device_map")
    crash = replace(FINDING, how=How.CRASH)
    assert entry.resembles(replace(crash, where="peft/utils/integrations.py:180 get_layer_device_map"))
    assert not entry.resembles(replace(crash, where="peft/utils/integrations.py:203 map_cache_to_layer_device_map"))
    assert not entry.resembles(replace(crash, where=""))


@pytest.mark.parametrize(
    ("peft", "applies"),
    [("0.20.0", True), ("0.22.0.dev0", True), ("0.20.0rc1", False), ("0.13.2", False)],
)
def test_an_entry_applies_to_a_range_of_versions_main_branches_included(peft: str, applies: bool) -> None:
    assert ENTRY.applies({**VERSIONS, "peft": peft}) is applies


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    path.write_text(TEXT, "utf-8")
    (entry,) = known.load(path)
    assert (entry.id, entry.how, entry.case) == (
        "window",
        How.WRONG,
        Case(family="mistral", rows=(Row(length=3), Row())),
    )


def test_a_file_without_entries_is_one(tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    path.write_text("schema = 1", "utf-8")
    assert known.load(path) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TEXT.replace("reason =", "motive ="), "`motive`"),
        (TEXT.replace("reason =", "#"), "`reason`"),
        (TEXT.replace("schema = 1", "schema = 2"), "schema"),
        (TEXT.replace("schema = 1", ""), "schema"),
        (TEXT.replace(">=0.20", ">=new"), "'>=new' is not a version range"),
        (TEXT.replace("<6", "six"), "'six' is not a version range"),
        (TEXT.replace('"left_padded"', '"padded_left"'), "no feature 'padded_left'"),
        (TEXT.replace('"projection"', '"projected"'), "no feature 'projected'"),
        (TEXT.replace("wrong answer", "wrong"), "wrong"),
        (TEXT.replace("length = 3", "length = 0"), "`int` >= 1"),
        (TEXT + TEXT.replace("schema = 1", ""), "two entries are called 'window'"),
        (TEXT.replace("mend =", "# mend ="), "needs a `mend`, or says in `unmendable` why there can be none"),
        (TEXT.replace("mend =", 'unmendable = "no"\nmend ='), "needs a `mend`, or says"),
        (TEXT.replace("package.mends:skip_pads", "package.mends"), "does not name a mend as module:function"),
        (TEXT.replace("mend = ", "unmendable = "), "without a mend only a crash can be known, and only by its `words`"),
        (TEXT[:-30], "known.toml"),
        ("[failure", "known.toml"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "known.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(UserError) as error:
        known.load(path)
    assert error.value.code == "malformed-known-failures"
    assert error.value.message.startswith("known.toml: ")
    assert words in error.value.message


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unreadable-file"):
        known.load(tmp_path / "none.toml")


def test_a_file_says_traits_and_methods_and_no_family(tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    text = TEXT.replace('families = ["mistral"]', 'methods = ["P_*"]').replace(
        '"left_padded"', '"left_padded", "rotary"'
    )
    path.write_text(text, "utf-8")
    (entry,) = known.load(path)
    assert (entry.families, entry.methods) == (("*",), ("P_*",))
    assert entry.features == ("left_padded", "rotary")


SHIPPED = {entry.id: entry for entry in known.load(known.shipped())}


@pytest.mark.parametrize("entry", SHIPPED.values(), ids=SHIPPED)
def test_the_shipped_entries_match_the_cases_they_were_made_from(entry: KnownFailure) -> None:
    present = features(entry.case) | traits(entry.case)
    assert set(entry.features) <= present
    assert not set(entry.without) & present
    assert any(fnmatchcase(entry.case.method, glob) for glob in entry.methods)


@pytest.mark.parametrize("entry", SHIPPED.values(), ids=SHIPPED)
def test_the_shipped_entries_say_how_grave_they_are_and_answer_a_sceptic(entry: KnownFailure) -> None:
    assert entry.severity
    assert entry.objection.endswith((".", "?"))
    assert entry.answer.strip().endswith(".")


@pytest.mark.parametrize("entry", SHIPPED.values(), ids=SHIPPED)
def test_the_shipped_entries_name_no_family_that_a_trait_can_name(entry: KnownFailure) -> None:
    """Where one class is at fault an entry may; none of today's is."""
    assert entry.families == ("*",)


def test_the_shipped_file_names_what_there_is_and_cases_that_can_be() -> None:
    check_entries(load(shipped()))
