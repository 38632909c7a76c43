"""Mends of what is switched on for training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from conformance.compat.checkpointing import forgetful
from conformance.mends.generating import CAUSAL, ENCODER_DECODER, IN_THE_CACHE
from conformance.runs.patching import around


@contextmanager
def no_layer_forgets_the_prefix() -> Iterator[None]:
    """Where virtual tokens lie in the cache, no layer is checkpointed: it would be given none."""

    def mended(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        with ExitStack() as stack:
            if self.active_peft_config.peft_type in IN_THE_CACHE:
                for module in forgetful(self.get_base_model()):
                    stack.enter_context(mock.patch.object(module, "gradient_checkpointing", False))
            return forward(self, *args, **kwargs)

    with around(CAUSAL, "forward", mended), around(ENCODER_DECODER, "forward", mended):
        yield
