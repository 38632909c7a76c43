from __future__ import annotations

import json
from pathlib import Path

import pytest

from conformance import families
from conformance.core.case import Roles
from conformance.core.errors import UserError
from conformance.families.family import Family, read_family

TEXT = """
schema = 1
name = "tiny"
hazard = "None."
model = "LlamaForCausalLM"
config = "LlamaConfig"
{top}

[anatomy]
layers = "model.layers"
positions = "rotary"
{anatomy}

[draw]
{draw}
"""


def file(folder: Path, top: str = "", anatomy: str = "", draw: str = "", **changes: str) -> Path:
    text = TEXT.format(top=top, anatomy=anatomy, draw=draw)
    for old, new in changes.items():
        text = text.replace(old, new)
    path = folder / "tiny.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_family_file_is_read(tmp_path: Path) -> None:
    family = read_family(file(tmp_path, draw="sliding = [[true, false], []]\nwindows = [5, 3]\nheads = [2, 4]"))
    assert (family.name, family.draw.heads, family.draw.windows) == ("tiny", (2, 4), (5, 3))
    assert family.draw.sliding == ((True, False), ())
    assert not family.encoder_decoder


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ({"top": "colour = 1"}, "`colour`"),
        ({"draw": "depth = [1]"}, "`depth`"),
        ({"anatomy": "heart = 1"}, "`heart`"),
        ({"draw": "layers = [0]"}, "`int` >= 1"),
        ({"draw": "layers = [65]"}, "`int` <= 64"),
        ({"top": 'task = "TOKEN_CLS"'}, "TOKEN_CLS"),
        ({"draw": "windows = [65]"}, "`int` <= 64"),
        ({"draw": "rotary = [101]"}, "`int` <= 100"),
        ({"draw": 'rope = ["yarn"]'}, "yarn"),
        ({"schema": "scheme"}, "`scheme`"),
        ({"hazard": "#"}, "`hazard`"),
        ({"= 1": "= 2"}, "schema"),
        ({"rotary": "wheels"}, "wheels"),
    ],
)
def test_a_malformed_family_file_is_refused(tmp_path: Path, text: dict[str, str], words: str) -> None:
    with pytest.raises(UserError) as error:
        read_family(file(tmp_path, **text))
    assert error.value.code == "malformed-family"
    assert error.value.message.startswith("tiny.toml is not a family file")
    assert words in error.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ({'"tiny"': '"large"'}, "name is 'large' but the file is called 'tiny'"),
        ({"draw": "sliding = [[true]]"}, "draw.windows is empty"),
        ({"draw": "windows = [5]"}, "no layer slides"),
        ({"draw": "windows = [5]\nsliding = [[false]]"}, "no layer slides"),
        ({"top": 'task = "SEQ_2_SEQ_LM"'}, "disagree about an encoder"),
        ({"draw": 'encoder_layers = "free"'}, "disagree about an encoder"),
        ({"rotary": "learned"}, "anatomy.table is empty"),
        ({"draw": "head_dim = [4, 5]"}, "an even draw.head_dim"),
        *(
            ({"draw": f"{role} = []"}, "a role has no value to take")
            for role in ("layers", "heads", "head_dim", "ffn", "positions")
        ),
        *(
            ({"draw": f"{role} = []"}, "a role has no value to take")
            for role in ("tied", "activation", "rope", "rotary", "sliding")
        ),
        ({"top": "[pixels]\nsize = 2"}, "[pixels] belongs to inputs of images, and inputs is 'text'"),
        ({"top": 'inputs = "idefics"'}, "inputs is 'idefics', which has images, and there is no [pixels]"),
        ({"draw": "grouped = true\nheads = [1]"}, "draw.grouped needs"),
        ({"top": "[fix]\nlearns = true"}, "learns stands in [fix], after which no key of the file itself can follow"),
        ({"draw": "positions = [64, 18]"}, "draw.positions must hold 19"),
        ({"draw": "positions = [32]\nsliding = [[true]]\nwindows = [5, 20]"}, "draw.positions must hold 33"),
    ],
)
def test_a_family_file_that_contradicts_itself_is_refused(tmp_path: Path, text: dict[str, str], words: str) -> None:
    with pytest.raises(UserError) as error:
        read_family(file(tmp_path, **text))
    assert error.value.code == "contradictory-family"
    assert words in error.value.message


def test_an_unknown_kind_of_input_is_refused_with_the_kinds_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read_family(file(tmp_path, top='inputs = "llava"'))
    assert (error.value.code, error.value.message) == ("unknown-inputs", "tiny.toml: there is no kind of input 'llava'")
    assert error.value.cause.endswith("conformance/families/inputs: idefics, text")
    assert "add a file" in error.value.cure


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[anatomy", b""])
def test_what_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tiny.toml"
    path.write_bytes(content)
    with pytest.raises(UserError, match="malformed-family"):
        read_family(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unreadable-file"):
        read_family(tmp_path / "tiny.toml")


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(UserError, match=r"unknown-family: there is no family 'lama'[\s\S]*did you mean 'llama'"):
        families.family_named("lama")


def test_a_family_of_another_repository_joins_the_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "_extra", {})
    before = list(families.families())
    family = families.register(file(tmp_path))
    assert list(families.families()) == [*before, "tiny"]
    assert families.family_named("tiny") is family


def test_a_family_that_is_refused_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "_extra", {})
    with pytest.raises(UserError):
        families.register(file(tmp_path, draw="windows = [5]"))
    assert "tiny" not in families.families()


@pytest.mark.parametrize("family", families.families().values(), ids=families.families())
def test_a_shipped_family_says_its_hazard_in_one_sentence(family: Family) -> None:
    assert family.hazard.endswith(".")
    assert 30 <= len(family.hazard) <= 160


def test_a_flagship_says_in_a_sentence_of_its_own_why_it_is_one() -> None:
    reasons = [family.flagship for family in families.flagships().values()]
    assert all(reason.endswith(".") and 20 <= len(reason) <= 120 for reason in reasons)
    assert len({*reasons, *(family.hazard for family in families.flagships().values())}) == 2 * len(reasons)


def test_tests_run_the_flagships_which_are_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "_extra", {})
    before = families.flagships()
    families.register(file(tmp_path, top='flagship = "It is mine."'))
    assert families.flagships() == before
    assert {"bloom", "gemma3", "gpt2", "gpt_neox", "idefics", "llama", "mistral", "opt", "qwen2", "t5"} <= set(before)


def test_the_simplest_model_has_the_first_value_of_every_role(tmp_path: Path) -> None:
    draw = "layers = [2, 1]\nheads = [3, 1]\nhead_dim = [4, 8]\nsliding = [[true, false], []]\nwindows = [5, 3]\ntied = [true]"
    assert read_family(file(tmp_path, draw=draw)).draw.simplest == Roles(
        layers=2, heads=3, kv_heads=3, head_dim=4, width=12, tied=True, window=5, sliding=(True, False)
    )
    both = read_family(file(tmp_path, top='task = "SEQ_2_SEQ_LM"', draw='layers = [2]\nencoder_layers = "free"'))
    assert both.draw.simplest.encoder_layers == 2


@pytest.mark.parametrize("model", ["nowhere_at_all:MyModel", "json:MyModel"])
def test_a_class_of_ones_own_that_cannot_be_imported_is_a_mistake_not_an_absence(tmp_path: Path, model: str) -> None:
    from conformance.families.presence import absent

    family = read_family(file(tmp_path, LlamaForCausalLM=model))
    with pytest.raises(UserError, match=f"no-such-class: {model} cannot be imported"):
        absent(family)


OLD = 'transformers = "<4.0"\n'


def test_the_class_of_the_texts_config_is_needed_too(tmp_path: Path) -> None:
    from conformance.families.presence import absent

    assert "has no Llama9Config" in absent(read_family(file(tmp_path, top=f'{OLD}text_config = "Llama9Config"')))


def test_a_class_is_absent_where_the_file_says_so(tmp_path: Path) -> None:
    from conformance.families.presence import absent

    assert "has no LlamaForNothing" in absent(read_family(file(tmp_path, top=OLD, LlamaForCausalLM="LlamaForNothing")))


@pytest.mark.parametrize("top", ["", 'transformers = ">=4.38"'])
def test_a_class_of_ones_own_file_that_nobody_has_is_a_mistake_not_an_absence(tmp_path: Path, top: str) -> None:
    from conformance.families.presence import absent

    with pytest.raises(UserError, match=r"no-such-class.*LlamaForCausalML") as raised:
        absent(read_family(file(tmp_path, top=top, LlamaForCausalLM="LlamaForCausalML")))
    assert "did you mean 'LlamaForCausalLM'?" in raised.value.cure


def test_a_range_is_a_range(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="contradictory-family"):
        read_family(file(tmp_path, top='transformers = "newest"'))


def test_a_class_of_this_projects_families_may_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    from conformance.families import presence

    monkeypatch.setattr(presence, "_listed", lambda: frozenset({"LlamaForCausalLM"}))
    assert presence.absent(families.family_named("llama")).endswith("has no LlamaConfig")


def test_a_class_that_is_there_and_cannot_be_imported_is_not_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    from conformance.families import presence

    def named(name: str) -> object:
        raise ImportError("libsomething.so.1: cannot open shared object file")

    monkeypatch.setattr(presence, "named", named)
    presence.importable.cache_clear()
    with pytest.raises(presence.CannotImport, match=r"transformers has BloomForCausalLM, but .*libsomething"):
        presence.absent(families.family_named("bloom"))


def test_a_peft_that_cannot_be_imported_is_not_a_family_that_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    from conformance.families import presence

    def broken(name: str) -> object:
        raise ImportError("cannot import name `HybridCache`")

    monkeypatch.setattr(presence, "import_module", broken)
    presence._require.cache_clear()
    with pytest.raises(presence.CannotImport, match=r"peft cannot be imported: ImportError: .*HybridCache"):
        presence.absent(families.family_named("llama"))


@pytest.mark.parametrize("name", ["a,b", "a[b]", "a*", "who?", " a", "a ", "a\x1bb", "a\u202eb"])
def test_a_name_that_could_not_be_selected_or_shown_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.toml"
    text = TEXT.format(top="", anatomy="", draw="").replace('name = "tiny"', f"name = {json.dumps(name)}")
    path.write_text(text, "utf-8")
    with pytest.raises(UserError, match="a name is selected between commas"):
        read_family(path)
