"""Virtual tokens and another adapter, a LoRA, on one base model: in each way in which a user of PEFT may put them together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from conformance.core.case import Case
from conformance.families.lora import RANK, adapted, parts

if TYPE_CHECKING:
    from conformance.families import Family


def stacked(base: Any, case: Case, family: Family, config: Any) -> Any:
    """``base`` with the adapter of ``config`` and a LoRA, stacked as ``case`` says; the LoRA has its drawn numbers."""
    from peft import LoraConfig, get_peft_model

    if case.stacked == "alone":
        return get_peft_model(base, config)
    names = list(adapted(base, family))

    def told() -> Any:
        return LoraConfig(task_type=family.task, r=RANK, lora_alpha=RANK, lora_dropout=0.0, target_modules=names)

    if case.stacked == "merged":
        lora: Any = _filled(get_peft_model(base, told()), names, case.seed)
        return get_peft_model(lora.merge_and_unload(), config)
    if case.stacked == "inside":
        base.add_adapter(told())
        return get_peft_model(_filled(base, names, case.seed), config)
    if case.stacked == "over":
        return get_peft_model(_filled(get_peft_model(base, told()), names, case.seed), config)
    return _filled(get_peft_model(get_peft_model(base, config), told()), names, case.seed)


@torch.no_grad()
def _filled(model: Any, names: list[str], seed: int) -> Any:
    """``model``, whose LoRA has the numbers that :func:`~conformance.families.lora.merge` adds."""
    held = {path: module for path, module in model.named_modules() if hasattr(module, "lora_A")}
    for path, module in held.items():
        name = next(name for name in names if path == name or path.endswith(f".{name}"))
        down, up = (next(iter(part.values())).weight for part in (module.lora_A, module.lora_B))
        for parameter, value in zip((down, up), parts(name, (up.shape[0], down.shape[1]), seed), strict=True):
            parameter.copy_(value)
    assert len(held) == len(names), "every layer has its LoRA"
    return model
