from __future__ import annotations

from pathlib import Path

import pytest
from conformance.families.family_named import Family, read

from conformance import families
from conformance.core.errors import UserError

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
    found = read(file(tmp_path, draw="sliding = [[true, false], []]\nwindows = [5, 3]\nheads = [2, 4]"))
    assert (found.name, found.draw.heads, found.draw.windows) == ("tiny", (2, 4), (5, 3))
    assert found.draw.sliding == ((True, False), ())
    assert not found.encoder_decoder


@pytest.mark.parametrize(
    ("text", "said"),
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
def test_a_malformed_family_file_is_refused(tmp_path: Path, text: dict[str, str], said: str) -> None:
    with pytest.raises(UserError) as error:
        read(file(tmp_path, **text))
    assert error.value.code == "malformed-family"
    assert error.value.message.startswith("tiny.toml is not a family file")
    assert said in error.value.message


@pytest.mark.parametrize(
    ("text", "said"),
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
        ({"draw": "grouped = true\nheads = [1]"}, "draw.grouped needs"),
        ({"draw": "positions = [64, 18]"}, "draw.positions must hold 19"),
        ({"draw": "positions = [32]\nsliding = [[true]]\nwindows = [5, 20]"}, "draw.positions must hold 33"),
    ],
)
def test_a_family_file_that_contradicts_itself_is_refused(tmp_path: Path, text: dict[str, str], said: str) -> None:
    with pytest.raises(UserError) as error:
        read(file(tmp_path, **text))
    assert error.value.code == "contradictory-family"
    assert said in error.value.message


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[anatomy", b""])
def test_what_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tiny.toml"
    path.write_bytes(content)
    with pytest.raises(UserError, match="malformed-family"):
        read(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unreadable-file"):
        read(tmp_path / "tiny.toml")


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(UserError, match=r"unknown-family: there is no family 'lama'[\s\S]*did you mean 'llama'"):
        families.family_named("lama")


def test_a_family_of_another_repository_joins_the_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "_extra", {})
    before = list(families.families())
    found = families.register(file(tmp_path))
    assert list(families.families()) == [*before, "tiny"]
    assert families.family_named("tiny") is found


def test_a_family_that_is_refused_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "_extra", {})
    with pytest.raises(UserError):
        families.register(file(tmp_path, draw="windows = [5]"))
    assert "tiny" not in families.families()


@pytest.mark.parametrize("kind", families.families().values(), ids=lambda kind: str(kind.name))
def test_a_shipped_family_says_its_hazard_in_one_sentence(kind: Family) -> None:
    assert kind.hazard.endswith(".")
    assert 30 <= len(kind.hazard) <= 160


@pytest.mark.parametrize("model", ["nowhere_at_all:MyModel", "json:MyModel"])
def test_a_class_of_ones_own_that_cannot_be_imported_is_a_mistake_not_an_absence(tmp_path: Path, model: str) -> None:
    from conformance.families.build import absent

    kind = read(file(tmp_path, LlamaForCausalLM=model))
    with pytest.raises(UserError, match=f"no-such-class: {model} cannot be imported"):
        absent(kind)


def test_a_class_that_this_release_of_transformers_lacks_is_absent(tmp_path: Path) -> None:
    from conformance.families.build import absent

    assert "has no LlamaForNothing" in absent(read(file(tmp_path, LlamaForCausalLM="LlamaForNothing")))
