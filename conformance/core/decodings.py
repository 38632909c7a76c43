"""How generate is told to decode, by what a Case calls it: the arguments, which are the same for every family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.core.case import Decoding

DECODINGS: Mapping[Decoding, Mapping[str, Any]] = {
    "plain": {},
    # Warm enough that tiny models are not sure of one token, with few enough left that each limit takes some away.
    "sampled": {"do_sample": True, "temperature": 1.5, "top_k": 20, "top_p": 0.9},
}
