from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.core.case import FIRST_TEXT_TOKEN, VOCABULARY
from conformance.families.vocabulary import decode_text, encode_text, tokenizer

PRINTABLE = "".join(map(chr, range(33, 127)))


@given(st.text(PRINTABLE, min_size=1, max_size=64))
@settings(deadline=None, derandomize=True, database=None)
def test_a_text_comes_back_from_its_tokens(text: str) -> None:
    ids = encode_text(text)
    assert len(ids) == len(text)
    assert decode_text(ids) == text


def test_every_token_of_a_text_is_a_printable_character() -> None:
    ids = encode_text(PRINTABLE)
    assert ids == list(range(FIRST_TEXT_TOKEN, VOCABULARY))
    assert decode_text(ids) == PRINTABLE


def test_the_vocabulary_fits_the_models() -> None:
    assert tokenizer().get_vocab_size() == VOCABULARY - FIRST_TEXT_TOKEN
