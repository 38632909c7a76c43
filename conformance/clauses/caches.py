"""The kind of cache changes what is stored, never what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.logits import agree
from conformance.clauses.preconditions import other_caches
from conformance.clauses.registry import clause
from conformance.core.relations import with_cache

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab


@clause(sources=("huggingface/transformers#27931", "huggingface/peft#2458"), follow_ups=other_caches)
def kinds_agree(lab: Lab, case: Case) -> None:
    """With another cache_implementation generate answers the same, or refuses in words.

    A static cache today: offloaded ones need the streams of an accelerator, quantized ones a package of their own, and
    ``hybrid`` has become a name of the default.
    """
    agree(
        lab.generate(case),
        lab.generate(with_cache(case, "dynamic")),
        f"a {case.cache} cache answers otherwise than a dynamic one",
    )
