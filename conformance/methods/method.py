"""What a method of prompt learning is: all that the rest of the suite asks of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from conformance.core.case import Begins, Case, Prefix, Row, Wrong
from conformance.methods.beginning import Beginning
from conformance.methods.wrong import Mistake, amiss, wrongs_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from conformance.compat.caches import KeysValues
    from conformance.families import Family

SCALES = {"drawn": 1.0, "large": 1000 / 3, "small": 1 / 30000}
"""By how much the numbers in virtual tokens are multiplied: no powers of two, so that a half precision has to round them.

The large ones are far from what is usual, and of float16 still in range, squared sums of a few too. Of the small ones float16
has only some bits left.
"""
DEFAULT_ADAPTER = "default"
"""What an adapter is called that was not given a name."""
Raw = Mapping[str, "Tensor"]
"""The adapter's raw parameters by name, as PEFT saves and holds them."""


class Layout(NamedTuple):
    """How many rows the parameters make, and for each decoder layer the row of its keys and the row of its values.

    Of embeddings the rows are blocks, one for each stack that has a share, and no layer has rows of its own.
    ``bloom_fused``: a row of keys is not one head after the other, but the same numbers in the order of BLOOM's fused cache.
    """

    rows: int
    pairs: tuple[tuple[int, int], ...]
    bloom_fused: bool = False

    @property
    def injective(self) -> bool:
        """Whether no row serves two layers."""
        used = [row for pair in self.pairs for row in pair]
        return len(used) == len(set(used))


class Injected(NamedTuple):
    """What a method puts in front of the text; neither for the base model alone.

    ``cache``: per layer keys and values, each ``(1, kv_heads, n, head_dim)``, which lie in the cache before the first forward.
    ``embeddings`` ``(1, n, hidden)`` stand in front of the embedded text; in an encoder-decoder the encoder reads them. Where
    there are several tasks they are ``(tasks, n, hidden)``, and each row has those of its own.
    """

    cache: KeysValues = ()
    embeddings: Tensor | None = None

    @property
    def length(self) -> int:
        """Number of virtual tokens."""
        if self.embeddings is not None:
            return self.embeddings.shape[1]
        return self.cache[0][0].shape[-2] if self.cache else 0

    def of(self, row: Row) -> Injected:
        """What is in front of that ``row``."""
        if self.embeddings is None:
            return self
        return Injected(embeddings=self.embeddings[[row.task(len(self.embeddings))]])


NOTHING = Injected()
"""The base model without any prompt."""


class Method(ABC):
    """One method. Only its file knows its parameters and its arithmetic; the table of methods has its name, too."""

    name: ClassVar[str]
    """As PEFT calls it, and as a Case does."""
    acts_on: ClassVar[Literal["cache", "embeddings"]]
    """Where the virtual tokens are put."""
    varied: ClassVar[frozenset[str]]
    """The fields of a Case's ``prefix`` that mean something here; all others keep their defaults."""
    config: ClassVar[str]
    """What PEFT calls the class of its configs. A release without that name has no such method."""
    reference: ClassVar[str]
    """Where our own small, correct wrapper is, called with ``(base, case, family, method)``: every clause must pass on it."""

    documented: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    """Settings that are one of a few words: each word, and the setting that it cannot be without, if there is one."""
    needed_beside: ClassVar[tuple[str, ...]] = ()
    """The arguments that the user has to pass beside the text."""

    def cannot(self, family: Family) -> str:
        """Why the method is not for that ``family`` at all, in words; most are for all."""
        return ""

    def peft_config(self, case: Case, family: Family) -> Any:
        """PEFT's config for ``case``, for ``get_peft_model``."""
        return resolve_name(f"peft:{self.config}")(**self.told(case, family))

    def told(self, case: Case, family: Family) -> dict[str, Any]:
        """All that the config is told by ``case``, what is wrong in it too, by the names of its fields."""
        right = {"task_type": family.task, "num_virtual_tokens": case.prefix.length, **self.settings(case)}
        wrong = self.wrongs(case, family).get(case.wrong) if case.wrong != "nothing" else None
        return {**right, **wrong.settings} if wrong else right

    def wrongs(self, case: Case, family: Family) -> dict[Wrong, Mistake]:
        """All that can be wrong with what is asked of this method."""
        return wrongs_of(self.documented, self.needed_beside, family.encoder_decoder)

    def amiss(self, told: Mapping[str, Any], family: Family) -> str:
        """Why what the config is ``told`` cannot work, in words; nothing if it can."""
        return amiss(told, family.task, self.documented)

    def settings(self, case: Case) -> dict[str, Any]:
        """What that config is told beside the number of virtual tokens, by its fields' names."""
        return {}

    @abstractmethod
    def layout(self, case: Case) -> Layout:
        """Which row of the parameters serves which layer, in the plainest way: the reference wrapper's."""

    @abstractmethod
    def peft_layout(self, case: Case, family: Family) -> Layout:
        """The same for PEFT."""

    @abstractmethod
    def shapes(self, case: Case, layout: Layout) -> dict[str, tuple[int, ...]]:
        """The shapes of the raw parameters that fit the model."""

    @abstractmethod
    def draw(self, case: Case, name: str, shape: tuple[int, ...]) -> Tensor:
        """The drawn value of one raw parameter, in float32."""

    def beginnings(self, case: Case, family: Family) -> tuple[Begins, ...]:
        """In which ways the parameters of a new adapter can be told to begin: with some methods at random only."""
        return ()

    def begun(self, case: Case, layout: Layout, table: Tensor) -> Beginning:
        """What is said of the parameters of a new adapter of ``case``; ``table`` are the embeddings ``(vocabulary, hidden)``.

        Nothing, where they begin as a cache: that takes a run of the base model.
        """
        return Beginning()

    def scales(self, case: Case, name: str) -> bool:
        """Whether the rows grow in proportion with the raw parameter called ``name``, all of these growing alike."""
        return True

    def value(self, case: Case, name: str, shape: tuple[int, ...]) -> Tensor:
        """The value of one raw parameter: as drawn, or scaled as the Case says; in float32, or of a Case in float64 in that."""
        drawn = self.draw(case, name, shape)
        if case.prefix.scale == "drawn":
            return drawn
        scaled: Tensor = drawn.double() * (SCALES[case.prefix.scale] if self.scales(case, name) else 1)
        return scaled if case.dtype == "float64" else scaled.float()

    def computes_rows(self, case: Case) -> bool:
        """Whether only what the raw parameters make is saved, the flat rows, and not these parameters."""
        return False

    def keeps_rows(self, case: Case) -> bool:
        """Whether the flat rows are numbers that the raw parameters hold, none of them computed."""
        return not self.computes_rows(case)

    @abstractmethod
    def rows(self, raw: Raw) -> Tensor:
        """The flat rows that the raw parameters make, one a virtual token, of which the first n are read: what is saved."""

    @abstractmethod
    def inference_rows(self, raw: Raw) -> Tensor:
        """The flat rows where a loaded adapter holds them: read, not computed."""

    def settled(self, rows: Tensor, case: Case) -> Tensor:
        """The flat rows as they are saved, which put the same in front of the text: with most methods as they are."""
        return rows

    def learnt(self, by_row: Tensor, case: Case) -> Tensor:
        """Of what there is for each flat row, ``(rows, ...)``, the part of those that are trained."""
        return by_row[case.prefix.frozen :]

    @abstractmethod
    def injected(self, rows: Tensor, case: Case, layout: Layout) -> Injected:
        """What the flat rows put in front of the text, in the Case's dtype."""

    @abstractmethod
    def raw_holding(self, read: Injected, case: Case, layout: Layout) -> dict[str, Tensor]:
        """Raw parameters that put in front of the text what a real text is there: its keys and values, or its embeddings.

        Raises :class:`~conformance.core.signals.NotApplicable` where they cannot hold any.
        """

    @abstractmethod
    def in_front(self, case: Case) -> int:
        """How many positions are in front of what the decoder reads."""

    @abstractmethod
    def reach(self, case: Case) -> int:
        """How many positions back of the text a virtual token can lie and still change what is answered."""

    @abstractmethod
    def gradient_by_token(self, gradients: Raw) -> Tensor:
        """The part of the gradient that belongs to each row of :meth:`rows`, so to each virtual token."""

    @abstractmethod
    def gradient_by_block(self, gradients: Raw, layout: Layout) -> Tensor:
        """The part of the gradient that belongs to each block of rows, ``(layout.rows, ...)``."""

    def learns(self, name: str) -> bool:
        """Whether the raw parameter called ``name`` is trained: all are, but for those that a method freezes."""
        return True

    def trained(self, case: Case) -> Sequence[int]:
        """The virtual tokens that are trained: all are, but for those that a method freezes."""
        return range(case.prefix.length)

    def meant(self, prefix: Prefix) -> Prefix:
        """``prefix`` with what means nothing to this method at its default."""
        return Prefix(**{name: getattr(prefix, name) for name in prefix.__struct_fields__ if name in self.varied})

    def beside(self, case: Case) -> dict[str, Tensor]:
        """What the user passes beside the text, by the name of the argument: with most methods nothing."""
        return {}

    def beside_labels(self, row: Row, columns: int) -> dict[str, Sequence[int]]:
        """What the user says beside labels of each column of a ``row``, by the name of the argument: with most methods nothing.

        The row's text and its answer are so many ``columns``; of pads it says 0.
        """
        return {}

    def tokens_in_front(self, case: Case) -> Sequence[int]:
        """The tokens for which the virtual tokens stand, where these may be labels: with most methods there are none."""
        return ()

    def label_weights(self, case: Case, row: int) -> list[float | None]:
        """What each token of the row weighs in the loss that could have a label; None where it has none.

        Of a decoder these are the tokens that stand in front, those of the text, and all but the last of the answer, without the
        first of them all, which nothing could predict. Of an encoder-decoder they are those of the answer.
        """
        # All but the first token of the text; an encoder's text has none.
        count = case.answered(row) if case.roles.encoder_layers else case.rows[row].length - 1 + case.new_tokens - 1
        return [1.0 if labelled(case, before_the_end) else None for before_the_end in reversed(range(count))]

    def counted_labels(self, case: Case, row: int) -> int:
        """How many labels of the row count towards the loss, with as many answered tokens as the Case says."""
        return sum(weight is not None for weight in self.label_weights(case, row))

    def dtype(self, case: Case) -> torch.dtype:
        """The dtype in which ``case`` computes."""
        import torch

        found: torch.dtype = getattr(torch, case.dtype)
        return found


def labelled(case: Case, before_the_end: int) -> bool:
    """Whether the user gives a token a label, of which so many others of its row stand ``before_the_end``."""
    return case.labels == "all" or before_the_end % 2 == 0
