"""The simple model of a session: what may follow what, and what there is then."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from conformance.cli.parse import parse_case
from conformance.core.case import Case, Prefix, Roles, Row, from_json
from conformance.core.errors import UserError
from conformance.core.features import features
from conformance.core.story import BASE, NOBODY, Act, Kept, Situation, begin, following, legal

pytestmark = pytest.mark.light

ADD, SAVE, SWITCH = Act(do="add", adapter="second"), Act(do="save"), Act(do="switch", adapter="second")


def told(*acts: Act, begun: Situation | None = None) -> Situation:
    """What there is after all of ``acts``, each of which may be taken."""
    situation = begun or Situation()
    for act in acts:
        then = following(situation, act)
        assert then is not None, act
        situation = then
    return situation


def test_what_means_nothing_for_a_step_is_at_its_default() -> None:
    assert Act(do="save", adapter="third", source="second", decoding="sampled", other_length=True, seed=3) == SAVE
    assert Act(do="load", adapter="third", source="second", seed=3) != SAVE


@pytest.mark.parametrize(
    "acts",
    [
        (SWITCH,),
        (Act(do="delete"),),
        (Act(do="delete", adapter="second"),),
        (ADD, ADD),
        (Act(do="load"),),
        (Act(do="resume"),),
        (SAVE, Act(do="load", source="second")),
        (replace(ADD, other_length=True), SAVE, Act(do="load", source="second")),
        (Act(do="enable"),),
        (Act(do="disable"), Act(do="disable")),
        (Act(do="disable"), Act(do="train")),
        (SAVE, Act(do="disable"), Act(do="resume")),
        (SAVE, Act(do="load", adapter="second"), SWITCH, Act(do="train")),
        (Act(do="go_on"),),
        (Act(), Act(do="go_on"), Act(do="go_on")),
        (Act(decoding="sampled"), Act(do="go_on")),
        (Act(), Act(do="train"), Act(do="go_on")),
        (Act(), ADD, SWITCH, Act(do="go_on")),
        (Act(), Act(do="disable"), Act(do="go_on")),
        (SAVE, Act(), Act(do="load"), Act(do="go_on")),
    ],
)
def test_what_may_not_be_taken_is_no_story(acts: tuple[Act, ...]) -> None:
    assert legal(Situation(), acts) == acts[:-1]
    with pytest.raises(ValueError, match="may not be taken"):
        Case(family="x", story=acts)


def test_who_answers_is_active_unless_switched_off() -> None:
    both = told(ADD, SWITCH)
    assert (both.active, both.answers) == ("second", "second")
    assert told(Act(do="disable"), begun=both).answers == BASE
    assert told(Act(do="disable"), Act(do="switch"), Act(do="enable"), begun=both).answers == "default"


def test_where_the_active_adapter_is_deleted_the_first_that_is_left_takes_its_place() -> None:
    assert told(ADD, Act(do="delete")).active == "second"
    assert told(ADD, SWITCH, Act(do="delete")).active == "second"
    assert list(told(ADD, Act(do="delete"), Act(do="add")).adapters) == ["second", "default"]


def test_what_is_loaded_under_a_new_name_is_not_trained_and_what_is_resumed_is() -> None:
    other = told(replace(ADD, other_length=True), SAVE)
    assert told(Act(do="load", adapter="third", source="second"), begun=other).adapters["third"] == Kept(True, False)
    assert told(Act(do="load", adapter="second", source="second"), begun=other).adapters["second"] == Kept(True, True)
    assert told(Act(do="resume", source="second"), begun=other).adapters == {"default": Kept(True, True)}


def test_a_cache_is_held_until_its_values_are_others() -> None:
    assert told(Act()).holds == "default"
    assert told(Act(), SAVE, ADD, SWITCH, Act(do="raise"), Act(do="switch"), Act(do="go_on")).holds == NOBODY
    assert told(Act(do="disable"), Act(), Act(do="go_on")).holds == NOBODY
    assert told(Act(), Act(do="add", adapter="third"), Act(do="delete")).holds == NOBODY


def test_it_begins_with_what_the_case_can_do() -> None:
    rows = (Row(length=5),)
    room = Case(family="x", rows=rows, roles=Roles(positions=13))
    assert room.begun.going_on
    assert not replace(room, roles=Roles(positions=12)).begun.going_on
    assert not replace(room, roles=Roles(encoder_layers=1)).begun.going_on
    assert Case(family="x", prefix=Prefix(length=2, frozen=2)).begun.learning == (False, False)
    assert Case(family="x", prefix=Prefix(length=1, frozen=1)).begun.learning == (False, True)
    assert begin(0, 0, 64).learning == (True, True)


def test_a_story_is_written_and_read_back() -> None:
    case = Case(family="llama", story=(ADD, SWITCH, Act(decoding="looked_up"), Act()))
    assert from_json(case.to_json()) == parse_case(repr(case)) == case
    assert msgspec.json.decode(case.to_json())["story"][0] == {"adapter": "second", "do": "add"}
    with pytest.raises(UserError, match="may not be taken"):
        from_json('{"family":"llama","story":[{"do":"enable"}]}')


def test_a_case_has_the_features_of_what_is_asked_in_its_story() -> None:
    case = Case(family="llama", rows=(Row(), Row(length=2)), story=(Act(decoding="looked_up"), Act(do="train")))
    assert {"looked_up", "training_mode", "left_padded", "generates", "trains"} <= features(case)
    assert not {"looked_up", "generates"} & features(replace(case, story=()))


NAMES = st.sampled_from(["default", "second", "third"])


class Names(RuleBasedStateMachine):
    """A session told twice: to the simple model, and as plain names and a flag. Hypothesis looks for a difference."""

    def __init__(self) -> None:
        super().__init__()
        self.names, self.active, self.off, self.model = ["default"], "default", False, Situation()

    def told(self, may: bool, **said: str) -> bool:
        """Whether the step may be taken, which the simple model must know, too."""
        then = following(self.model, msgspec.convert(said, Act))
        assert (then is not None) is may
        self.model = then or self.model
        return may

    @rule(name=NAMES)
    def add(self, name: str) -> None:
        if self.told(name not in self.names, do="add", adapter=name):
            self.names.append(name)

    @rule(name=NAMES)
    def switch(self, name: str) -> None:
        if self.told(name in self.names, do="switch", adapter=name):
            self.active = name

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if self.told(name in self.names and len(self.names) > 1, do="delete", adapter=name):
            self.names.remove(name)
            self.active = self.active if self.active in self.names else self.names[0]

    @rule()
    def switch_off_or_on(self) -> None:
        assert self.told(True, do="enable" if self.off else "disable")
        self.off = not self.off

    @rule(name=NAMES)
    def save_and_resume(self, name: str) -> None:
        assert self.told(True, do="save")
        if self.told(name in self.names and not self.off, do="resume", source=name):
            self.names, self.active = ["default"], "default"

    @invariant()
    def both_agree(self) -> None:
        assert (list(self.model.adapters), self.model.active, self.model.off) == (self.names, self.active, self.off)


TestNames = Names.TestCase
TestNames.settings = settings(derandomize=True, database=None, deadline=None, max_examples=60)
