"""Training by the Trainer of transformers: a few steps of plain gradient descent over one batch, afresh or from a checkpoint."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from conformance.compat.trainers import own_checkpoints_are_read

STEPS, RATE = 2, 0.1
"""Optimiser steps, and the learning rate. Parameters are about 1, and what they learn in a step is far above their last bits."""


def steps(smoothing: float) -> int:
    """How many steps are taken: one shows what label ``smoothing`` makes of a loss, and of where it leads."""
    return 1 if smoothing else STEPS


def by_trainer(
    model: Any, batch: dict[str, Tensor], folder: Path, resume: int = 0, smoothing: float = 0.0
) -> list[float]:
    """The losses that a Trainer logs: of all :func:`steps`, or of those after number ``resume``, whose checkpoint is there.

    Each step is over the whole ``batch``, and leaves a checkpoint in ``folder``, but for one with label ``smoothing``.
    """
    from transformers import PrinterCallback, Trainer, default_data_collator

    rows = [{name: value[index] for name, value in batch.items()} for index in range(len(batch["labels"]))]
    with _random_numbers_kept(), _held_is_not_walked(), own_checkpoints_are_read():
        told = _arguments(folder, len(rows), smoothing)
        trainer = Trainer(model=model, args=told, train_dataset=rows, data_collator=default_data_collator)
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(folder / f"checkpoint-{resume}") if resume else None)
    return [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry][resume:]


def _arguments(folder: Path, rows: int, smoothing: float) -> Any:
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(folder),
        max_steps=steps(smoothing),
        label_smoothing_factor=smoothing,
        per_device_train_batch_size=rows,
        optim="sgd",
        learning_rate=RATE,
        lr_scheduler_type="constant",
        max_grad_norm=0,
        logging_steps=1,
        save_strategy="no" if smoothing else "steps",
        save_steps=1,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )


def by_loop(
    wrapper: Any, batch: dict[str, Tensor], folder: Path, resume: int = 0, smoothing: float = 0.0
) -> list[float]:
    """The same by a loop of our own, for a reference wrapper."""
    wrapper.train()
    if resume:
        wrapper.go_on_from(folder / f"{resume}.safetensors")
    learning = [parameter for parameter in wrapper.named_raw().values() if parameter.requires_grad]
    optimiser, losses = torch.optim.SGD(learning, lr=RATE), []
    for step in range(resume, steps(smoothing)):
        loss = wrapper.smoothed_loss(batch, smoothing) if smoothing else wrapper(**batch).loss
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        wrapper.checkpoint(folder / f"{step + 1}.safetensors")
    return losses


@contextmanager
def _held_is_not_walked() -> Iterator[None]:
    """A Trainer collects garbage when it is done: what it made itself, not all Traces and models that this process remembers."""
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _random_numbers_kept() -> Iterator[None]:
    """Inside, a Trainer may seed whatever it likes: others go on as if it had not."""
    import numpy

    python, arrays = random.getstate(), numpy.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        numpy.random.set_state(arrays)
