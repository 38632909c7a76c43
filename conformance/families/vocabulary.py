"""A real byte-level tokenizer, made on the spot: one token for each printable ASCII character."""

from __future__ import annotations

from functools import cache
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from conformance.core.case import FIRST_TEXT_TOKEN, VOCABULARY

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast


@cache
def tokenizer() -> Tokenizer:
    """Byte-level BPE without merges; ids from the first text token to the end of the vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = [chr(code) for code in range(33, 33 + VOCABULARY - FIRST_TEXT_TOKEN)]
    vocabulary = {letter: FIRST_TEXT_TOKEN + index for index, letter in enumerate(letters)}
    letter_by_letter = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    letter_by_letter.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letter_by_letter.decoder = decoders.ByteLevel()
    return letter_by_letter


@cache
def tokenizer_folder() -> TemporaryDirectory[str]:
    """A folder in which transformers finds this tokenizer, for as long as this process lives."""
    folder = TemporaryDirectory(prefix="conformance-")
    fast_tokenizer().save_pretrained(folder.name)
    return folder


@cache
def fast_tokenizer() -> PreTrainedTokenizerFast:
    """This tokenizer, as transformers has it."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer())


def stop_strings(text: Tensor) -> list[str]:
    """The strings that end an answer to the batch ``text`` ``(rows, columns)``.

    Every fourth letter, and, for the last letter of each row, that one with every third: such a string begins in the text.
    """
    letters = [letter_of(token) for token in range(FIRST_TEXT_TOKEN, VOCABULARY)]
    before = sorted({letter_of(token) for token in text[:, -1].tolist()} - {""})
    return [*letters[::4], *(last + letter for last in before for letter in letters[1::3])]


def letter_of(token: int) -> str:
    """The letter that ``token`` is; nothing for those that are none, such as a pad."""
    return decode_text([token]) if token >= FIRST_TEXT_TOKEN else ""


def encode_text(text: str) -> list[int]:
    """The token ids of ``text``, one per character."""
    return tokenizer().encode(text).ids


def decode_text(ids: list[int]) -> str:
    """The text of ``ids``."""
    return tokenizer().decode(ids)
