"""The kind of cache changes what is stored, never what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.cache import read_in_pieces, returns_the_same_kind
from conformance.assertions.logits import agree
from conformance.clauses.follow_ups import at_the_edge, chunked, no_cache, other_caches
from conformance.clauses.preconditions import decoder_only, room_for_two_turns, several_chunks, windows
from conformance.clauses.registry import Floor, clause
from conformance.core.relations import first_steps, row_alone, with_cache, with_decoding, without_prefix
from conformance.core.sources import KV_CACHE_DOC
from conformance.oracles.table import handmade_cache

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab


@clause(sources=("huggingface/transformers#27931", "huggingface/peft#2458", KV_CACHE_DOC), follow_ups=other_caches)
def kinds_agree(lab: Lab, case: Case) -> None:
    """With another cache_implementation, or a cache handed in, generate answers the same and keeps to it, or refuses in words.

    The names are those that the installed transformers takes: offloaded ones need the streams of an accelerator, quantized ones a
    package of their own. The third source hands in an empty cache and goes on with it, so it must be the one that comes back; of
    a name the kind that comes back is the base model's.
    """
    got = lab.generate(case)
    agree(got, lab.generate(with_cache(case, "dynamic")), f"a {case.cache} cache answers otherwise than a dynamic one")
    returns_the_same_kind(got, lab.generate(without_prefix(first_steps(row_alone(case, 0), 1))))


@clause(sources=(KV_CACHE_DOC,), follow_ups=no_cache)
def without_cache(lab: Lab, case: Case) -> None:
    """With use_cache=False generate answers the same, or refuses in words.

    The source says that the cache speeds generation up, and nothing of answers. Without it every step reads the whole text anew:
    the virtual tokens, which come as a cache, must be there anew, too.
    """
    agree(lab.generate(case), lab.generate(with_cache(case, "dynamic")), "generate answers otherwise without a cache")


@clause(sources=(KV_CACHE_DOC,), requires=(decoder_only, room_for_two_turns))
def continued(lab: Lab, case: Case) -> None:
    """Going on from the returned cache with a further text answers as starting afresh with all that was said.

    As the source shows for conversations, generate is given text, answer and further text, and the cache that the answer came
    with. The virtual tokens are in that cache, and in none of the columns that are given.
    """
    agree(
        lab.second_answer(case, from_cache=True),
        lab.second_answer(case, from_cache=False),
        "going on from the cache answers otherwise than starting afresh",
    )


@clause(
    sources=(KV_CACHE_DOC,),
    requires=(decoder_only, several_chunks),
    follow_ups=chunked,
    floor=Floor(may_refuse=True),
)
def chunked_prefill(lab: Lab, case: Case) -> None:
    """With prefill_chunk_size generate reads the text in pieces and answers the same, or refuses in words.

    The source says that tokens go on from the cache of those before them; so does each piece of a text, and virtual tokens come
    in front of the first. That it changes no answer is our own claim.
    """
    pieces, whole = lab.generate(case), lab.generate(with_decoding(case, "plain"))
    agree(pieces, whole, "a text that is read in pieces is answered otherwise")
    read_in_pieces(pieces, whole)


@clause(sources=("arXiv:2310.06825",), requires=(windows,), follow_ups=at_the_edge)
def window_edge(lab: Lab, case: Case) -> None:
    """Where the virtual tokens just fill a window, or lack one, or are one too many, each step agrees with the manual forward.

    The source says what a window sees. At its edge each new token pushes a virtual one out of it, so that a cache that counts one
    more or less than the mask does is wrong at once.
    """
    got = lab.generate(case)
    agree(got, lab.predict(case, handmade_cache, tokens=got.tokens))
