"""Oracles: what right would have been, said without using what is judged. One file each."""

from conformance.oracles.handmade import handmade_cache, handmade_loop
from conformance.oracles.plain_attention import plain_attention
from conformance.oracles.real_tokens import real_tokens

__all__ = ["handmade_cache", "handmade_loop", "plain_attention", "real_tokens"]
