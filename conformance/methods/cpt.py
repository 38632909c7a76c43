"""Context-aware prompt tuning: the embeddings of worked examples in front of the text, each moved a bounded way by training.

Shapes: the frozen embeddings of the context's tokens, ``(n, hidden)``, and as many *deltas*, which are trained and added to them.
A token of the context or of the text has a *type*: 0 for none, and of example e, from 0 on, 4e + 1 in the template around its
input, 4e + 2 in the input, 4e + 3 in the template around its output, 4e + 4 in the output. Outputs are labels. Outputs and tokens
of no type are not moved; the deltas of all others are projected into a ball, whose radius is of their type. PEFT saves the sum.

Source: PEFT's ``CPTEmbedding``; Blau et al. 2024 (arXiv:2410.17222), for models that only decode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from conformance.core.case import FIRST_TEXT_TOKEN, VOCABULARY, Begins, Case, Row, Wrong
from conformance.methods.method import Injected, Layout, Raw
from conformance.methods.prompt_tuning import EMBEDDING, PromptTuning
from conformance.methods.wrong import Mistake

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.families import Family

DELTA = "delta_embedding.weight"
"""Name of the raw parameter that is trained, as PEFT holds it."""
TYPES = "input_type_mask"
"""The argument that says the type of each column of the text, beside labels."""
AN_EXAMPLE = 4
"""So many types one example has; multiples of it are outputs."""
INPUT = 2
"""The type of inputs, in the first example."""
DECAY = 0.5
"""What an output weighs less in the loss for each output behind it, where the loss decays."""
WIDTH = 2048
"""The hidden size of a model for which PEFT's epsilon is the radius itself; it goes by the root of the size."""
RADII = {"wide": (8.0, 8.0), "narrow": (1.0, 0.75)}
"""The radii of templates and of inputs, divided by the root of the hidden size. By that measure most deltas have a norm of about
1, and none has one above 3.5: wide radii cut nothing."""
HELD = 1e-10
"""The radius of what is not trained."""


class ContextAwarePromptTuning(PromptTuning):
    """Embeddings of a context, and how far each is moved."""

    name = "CPT"
    varied = frozenset({"length", "context", "radii", "content", "scale", "seed"})
    config = "CPTConfig"
    documented: ClassVar = {"opt_weighted_loss_type": {"none": "", "decay": ""}}
    reference = "conformance.methods.reference.contexts:ReferenceContext"

    def cannot(self, family: Family) -> str:
        """Its outputs are labels in front of the text, so what reads the text must be what answers."""
        return "CPT is for models that only decode" if family.encoder_decoder else ""

    def settings(self, case: Case) -> dict[str, Any]:
        """The context with its types, the radii, and the weights of the loss; types that are PEFT's default are left out."""
        templates, inputs = RADII[case.prefix.radii]
        types = {} if case.prefix.context == "template" else {"cpt_tokens_type_mask": list(self.types(case))}
        return {
            **types,
            "cpt_token_ids": list(self.tokens(case)),
            "opt_projection_format_epsilon": templates * WIDTH**0.5,
            "opt_projection_epsilon": inputs * WIDTH**0.5,
            "opt_weighted_loss_type": "decay" if case.prefix.context == "decaying" else "none",
            "opt_loss_decay_factor": DECAY,
        }

    def wrongs(self, case: Case, family: Family) -> dict[Wrong, Mistake]:
        """Nobody has to say how many virtual tokens there are: as many as the context has tokens."""
        return {wrong: told for wrong, told in super().wrongs(case, family).items() if wrong != "no_length"}

    def beginnings(self, case: Case, family: Family) -> tuple[Begins, ...]:
        """In one way only: where the context is, not moved."""
        return ()

    def tokens(self, case: Case) -> tuple[int, ...]:
        """The tokens of the context: no two that follow each other are the same."""
        first = case.prefix.seed + 1
        return tuple(
            FIRST_TEXT_TOKEN + (first + 7 * i) % (VOCABULARY - FIRST_TEXT_TOKEN) for i in range(case.prefix.length)
        )

    def types(self, case: Case) -> tuple[int, ...]:
        """The type of each token of the context.

        All of one template; or examples, of which the last is whole, and a token of no type between two.
        """
        n = case.prefix.length
        if case.prefix.context == "template":
            return (1,) * n
        after, examples = AN_EXAMPLE + 1, -(-n // (AN_EXAMPLE + 1))
        behind = [divmod(n - 1 - i, after) for i in range(n)]
        return tuple(AN_EXAMPLE * (examples - later) - back if back < AN_EXAMPLE else 0 for later, back in behind)

    def beside_labels(self, row: Row, columns: int) -> dict[str, Sequence[int]]:
        """The type of each column of a row: its text is an example of one output token, and the answer the next one's output."""
        text = [1 + i % (AN_EXAMPLE - 1) for i in range(row.length - 1)]
        return {TYPES: [*text, AN_EXAMPLE, *[2 * AN_EXAMPLE] * (columns - row.length)]}

    def tokens_in_front(self, case: Case) -> Sequence[int]:
        """The context: its outputs are labels."""
        return self.tokens(case) if case.prefix.length else ()

    def label_weights(self, case: Case, row: int) -> list[float | None]:
        """Outputs count, of the context, the text and the answer, each half of the one behind it where the loss decays."""
        if not case.prefix.length:
            return super().label_weights(case, row)
        given, decays = super().label_weights(case, row), case.prefix.context == "decaying"
        own, columns = self.types(case), len(given) + 1
        # The text's examples are counted behind those of the context, of which one that has no output is one, too.
        begun = AN_EXAMPLE * -(-max(own) // AN_EXAMPLE)
        told = self.beside_labels(case.rows[row], columns)[TYPES]
        # The first token of the text has no label: without a context nothing could predict it.
        types, labels = [*own, *(type + begun for type in told)], [*own, None, *given]
        outputs = sorted({type for type in types[1:] if is_output(type)}, reverse=True)
        return [
            (DECAY ** outputs.index(type) if decays else 1.0) if is_output(type) and label is not None else None
            for type, label in list(zip(types, labels, strict=True))[1:]
        ]

    def shapes(self, case: Case, layout: Layout) -> dict[str, tuple[int, ...]]:
        """The embeddings of the context, and the deltas."""
        shape = (case.prefix.length, case.roles.width)
        return {EMBEDDING: shape, DELTA: shape}

    def peft_layout(self, case: Case, family: Family) -> Layout:
        """One block."""
        return self.layout(case)

    def draw(self, case: Case, name: str, shape: tuple[int, ...]) -> Tensor:
        """With a standard deviation of 1; within wide radii those deltas are 0 that training leaves there."""
        from conformance.families.weights import normal_numbers

        value: Tensor = normal_numbers(case.prefix.seed, f"prompt/{name}", shape)
        if name != DELTA or not case.prefix.length:
            return value
        return value * self._moved(case, value) if case.prefix.radii == "wide" else self._settling(value, case)

    def scales(self, case: Case, name: str) -> bool:
        """The embeddings; of deltas only the small ones, which no radius cuts."""
        return name == EMBEDDING or case.prefix.scale == "small"

    def keeps_rows(self, case: Case) -> bool:
        """No: what is read is a sum."""
        return False

    def _settling(self, delta: Tensor, case: Case) -> Tensor:
        """The deltas, lengthened where their projection would be projected anew in its last bits.

        Whether that was done twice must not decide what an answer is: PEFT writes a projection into the parameters.
        """
        once = self.projected(delta, case)
        moves = (self.projected(once, case) != once).any(1, keepdim=True)
        return self._settling(delta * (1 + moves / 8), case) if moves.any() else delta

    def learns(self, name: str) -> bool:
        """Only the deltas."""
        return name == DELTA

    def trained(self, case: Case) -> Sequence[int]:
        """Those of a template or an input."""
        return [token for token, type in enumerate(self.types(case)) if type % AN_EXAMPLE]

    def _moved(self, case: Case, like: Tensor) -> Tensor:
        """1 for each virtual token that is trained, else 0: ``(n, 1)``."""
        import torch

        return torch.tensor([[float(type % AN_EXAMPLE > 0)] for type in self.types(case)]).to(like)

    def radii(self, case: Case, like: Tensor) -> Tensor:
        """How far each virtual token may be moved, ``(n,)``; made of PEFT's numbers in its order, to the last bit."""
        import torch

        settings, per_width = self.settings(case), torch.tensor(case.roles.width / WIDTH).sqrt()
        templates, inputs = (settings[f"opt_projection_{name}epsilon"] * per_width for name in ("format_", ""))
        of = {0: torch.tensor(HELD), INPUT: inputs}
        return torch.stack([of.get(type % AN_EXAMPLE, templates) for type in self.types(case)]).to(like)

    def projected(self, delta: Tensor, case: Case) -> Tensor:
        """The deltas, those that are too long cut to their radius."""
        import torch

        radii, norms = self.radii(case, delta), delta.norm(dim=1)
        return delta * torch.where(norms > radii, radii / norms, torch.ones_like(norms))[:, None]

    def rows(self, raw: Raw) -> Tensor:
        """The embeddings, and behind them the deltas, ``(2 * n, hidden)``: what they make depends on their types."""
        import torch

        return torch.cat([raw[EMBEDDING], raw[DELTA]])

    def inference_rows(self, raw: Raw) -> Tensor:
        """The same: a loaded adapter has both."""
        return self.rows(raw)

    def injected(self, rows: Tensor, case: Case, layout: Layout) -> Injected:
        """Embeddings and projected deltas, ``(1, n, hidden)``; a gradient reaches the deltas as if nothing were projected."""
        embedding, delta = rows.tensor_split(2)
        learnt = delta * self._moved(case, delta)
        moved = embedding + self.projected(delta.detach(), case) + (learnt - learnt.detach())
        return Injected(embeddings=moved[None].to(self.dtype(case)))

    def settled(self, rows: Tensor, case: Case) -> Tensor:
        """Embeddings that are where the deltas have moved them, and no deltas."""
        import torch

        embedding, delta = rows.tensor_split(2)
        return torch.cat([embedding + self.projected(delta, case), 0 * delta])

    def learnt(self, by_row: Tensor, case: Case) -> Tensor:
        """Those of the deltas; on one that is not trained nothing depends."""
        return by_row[case.prefix.length :]

    def raw_holding(self, read: Injected, case: Case, layout: Layout) -> dict[str, Tensor]:
        """The embeddings of the text, not moved."""
        held = super().raw_holding(read, case, layout)
        return {**held, DELTA: 0 * held[EMBEDDING]}

    def gradient_by_token(self, gradients: Raw) -> Tensor:
        """That of each delta."""
        return gradients[DELTA]

    def gradient_by_block(self, gradients: Raw, layout: Layout) -> Tensor:
        """That of all deltas."""
        return gradients[DELTA].reshape(layout.rows, -1)


CPT = ContextAwarePromptTuning()


def is_output(type: int) -> bool:
    """Whether a token of that ``type`` belongs to an output."""
    return type > 0 and type % AN_EXAMPLE == 0
