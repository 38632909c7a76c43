"""How generate is told to decode, by what a Case calls it: the arguments, which are the same for every family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.core.case import PAD, VOCABULARY, Decoding

CHUNK = 2
"""Tokens that are read at once where a text is read in pieces."""
_ENDS = list(range(2 * VOCABULARY // 3, VOCABULARY))
_SEARCHED = {"num_return_sequences": 2, "output_scores": True, "eos_token_id": _ENDS}

DECODINGS: Mapping[Decoding, Mapping[str, Any]] = {
    "plain": {},
    # Warm enough that tiny models are not sure of one token, with few enough left that each limit takes some away.
    "sampled": {"do_sample": True, "temperature": 1.5, "top_k": 20, "top_p": 0.9},
    # Half of the vocabulary ends an answer, so that there is something to forbid in its first step. A pad is suppressed, since
    # releases differ in whether those of the text are penalised.
    "processed": {
        "encoder_repetition_penalty": 4.0,
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 2,
        "min_new_tokens": 1,
        "eos_token_id": list(range(VOCABULARY // 2, VOCABULARY)),
        "forced_eos_token_id": 2,
        "suppress_tokens": [PAD, *range(3, VOCABULARY, 3)],
        "begin_suppress_tokens": list(range(4, VOCABULARY, 5)),
    },
    # The strings that end an answer are made of the text: conformance.families.vocabulary. After one of them a row goes on with
    # pads only where a token may end it, too, as is usual.
    "stopped": {"eos_token_id": [2]},
    # With a third of the vocabulary that ends an answer, answers have different lengths, for which the penalty is.
    "searched": {**_SEARCHED, "length_penalty": 0.5, "early_stopping": False},
    "searched_early": {**_SEARCHED, "length_penalty": 2.0, "early_stopping": True},
    "looked_up": {"prompt_lookup_num_tokens": 2},
    # The assistant is a model of the lab's: conformance.runs.models.
    "assisted": {},
    # The text is read in pieces of so many tokens.
    "chunked": {"prefill_chunk_size": CHUNK},
    "all_returned": {"output_scores": True, "output_attentions": True, "output_hidden_states": True},
}
