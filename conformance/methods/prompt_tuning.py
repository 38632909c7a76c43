"""Prompt tuning: learnt embeddings in front of those of the text.

Shapes: the parameters are blocks of ``n`` embeddings, ``(blocks * n, hidden)``, of which the first is read. In an encoder-decoder
the encoder reads it, and PEFT keeps a second block for the decoder. Source: Lester et al. 2021, whose models are T5: the prompt
is put in front of what the encoder reads; PEFT's prompt embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from conformance.core.case import Begins, Case
from conformance.families.vocabulary import encode_text, tokenizer_folder
from conformance.methods.beginning import Beginning, told_text
from conformance.methods.method import Injected, Layout, Method, Raw

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.families import Family

EMBEDDING = "embedding.weight"
"""Name of the raw parameter, as PEFT saves and holds it."""


class PromptTuning(Method):
    """Learnt embeddings, one for each virtual token."""

    name = "PROMPT_TUNING"
    acts_on = "embeddings"
    varied = frozenset({"length", "content", "order", "begins", "scale", "seed"})
    config = "PromptTuningConfig"
    documented: ClassVar = {"prompt_tuning_init": {"TEXT": "tokenizer_name_or_path", "SAMPLE_VOCAB": "", "RANDOM": ""}}
    reference = "conformance.methods.reference.embeddings:ReferencePrompt"

    def settings(self, case: Case) -> dict[str, Any]:
        """How it begins."""
        return self.beginning(case.prefix.begins, case)

    def beginning(self, begins: Begins, case: Case) -> dict[str, Any]:
        """The settings by which it begins so."""
        if begins == "text":
            folder = tokenizer_folder().name
            return {
                "prompt_tuning_init": "TEXT",
                "prompt_tuning_init_text": told_text(case),
                "tokenizer_name_or_path": folder,
            }
        return {"prompt_tuning_init": "SAMPLE_VOCAB"} if begins == "vocabulary" else {}

    def beginnings(self, case: Case, family: Family) -> tuple[Begins, ...]:
        """As the embeddings of a text, or as any of the vocabulary."""
        return ("text", "vocabulary")

    def begun(self, case: Case, layout: Layout, table: Tensor) -> Beginning:
        """A text is repeated and cut until there is a token for each embedding."""
        if case.prefix.begins == "vocabulary":
            return Beginning(among={EMBEDDING: table})
        if case.prefix.begins != "text":
            return Beginning()
        ids, count = encode_text(told_text(case)), self.shapes(case, layout)[EMBEDDING][0]
        return Beginning({EMBEDDING: table[[ids[place % len(ids)] for place in range(count)]]})

    def layout(self, case: Case) -> Layout:
        """One block of embeddings."""
        return Layout(1, ())

    def peft_layout(self, case: Case, family: Family) -> Layout:
        """The same; of an encoder-decoder one block for each of the two, of which the second is not read."""
        return Layout(2 if family.encoder_decoder else 1, ())

    def shapes(self, case: Case, layout: Layout) -> dict[str, tuple[int, ...]]:
        """The embeddings, block by block."""
        return {EMBEDDING: (layout.rows * case.prefix.length, case.roles.width)}

    def draw(self, case: Case, name: str, shape: tuple[int, ...]) -> Tensor:
        """With a standard deviation of 1."""
        from conformance.families.weights import normal_numbers

        value: Tensor = normal_numbers(case.prefix.seed, f"prompt/{name}", shape)
        if case.prefix.order == "reversed":
            value = value.reshape(-1, case.prefix.length, shape[1]).flip(1).reshape(shape)
        return value

    def rows(self, raw: Raw) -> Tensor:
        """The embeddings themselves."""
        return raw[EMBEDDING]

    def inference_rows(self, raw: Raw) -> Tensor:
        """The embeddings."""
        return raw[EMBEDDING]

    def injected(self, rows: Tensor, case: Case, layout: Layout) -> Injected:
        """The first block, ``(1, n, hidden)``."""
        return Injected(embeddings=rows[None, : case.prefix.length].to(self.dtype(case)))

    def raw_holding(self, read: Injected, case: Case, layout: Layout) -> dict[str, Tensor]:
        """The inverse of :meth:`injected`; blocks that are not read are zero."""
        import torch

        assert read.embeddings is not None, "what is read of a text for this method is its embeddings"
        held = torch.zeros(self.shapes(case, layout)[EMBEDDING], dtype=read.embeddings.dtype)
        held[: case.prefix.length] = read.embeddings[0]
        return {EMBEDDING: held}

    def in_front(self, case: Case) -> int:
        """All virtual tokens, but where an encoder reads them."""
        return 0 if case.roles.encoder_layers else case.prefix.length

    def reach(self, case: Case) -> int:
        """As far as all layers together: each hands on what the one below has seen as far back again."""
        return sum(case.roles.seen_back(layer) for layer in range(case.roles.layers))

    def gradient_by_token(self, gradients: Raw) -> Tensor:
        """That of each embedding, block by block."""
        return gradients[EMBEDDING]

    def gradient_by_block(self, gradients: Raw, layout: Layout) -> Tensor:
        """Each block of embeddings."""
        return gradients[EMBEDDING].reshape(layout.rows, -1)


PROMPT_TUNING = PromptTuning()
