"""Gradient checkpointing, under whatever name a release has it."""

from __future__ import annotations

from typing import Any

NEW, OLD = "activation_checkpointing_enable", "gradient_checkpointing_enable"
"""What switches it on: in newer releases the first, of which the second is another name until v6."""


def enable(model: Any) -> None:
    """Let the layers of ``model``, wrapped or not, forget in training what they compute, and compute it anew for the gradient."""
    getattr(model, NEW if hasattr(model, NEW) else OLD)()


def forgetful(model: Any) -> list[Any]:
    """The modules of ``model`` that do so."""
    return [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
