"""What no family file says of a model, found out on the simplest one of its family. Nothing of PEFT takes part."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.compat.caches import fuses_heads
from conformance.core.case import Case, Row
from conformance.families import Family
from conformance.families.anatomy import position_hooks
from conformance.families.build import build
from conformance.families.inputs import request
from conformance.families.presence import named


def fused_cache(family: Family) -> bool:
    """Whether the class has a cache of that layout."""
    return fuses_heads(named(family.model))


def several_stacks(family: Family) -> bool:
    """Whether a module's name ends with a number, other than those of the decoder's layers and of what is in them."""
    layers = family.anatomy.layers
    names = [name for name, _ in build(simplest(family)).named_modules() if not f"{name}.".startswith(f"{layers}.")]
    return any(name.rpartition(".")[2].isdigit() for name in names)


def counts_pads(family: Family) -> bool:
    """Whether the first token of a text is given another position where pads stand before it."""
    if family.encoder_decoder or family.anatomy.positions == "none":
        return False
    case, seen = simplest(family, Row(length=1), Row(length=2)), list[Tensor]()
    model = build(case)
    position_hooks(model, family, seen.append)
    with torch.no_grad():
        model(**request(case, family))
    padded, whole = seen[0].expand(2, -1).tolist()
    return bool(padded[1] != whole[0])


def simplest(family: Family, *rows: Row) -> Case:
    """The simplest Case of ``family`` that has these ``rows``."""
    return Case(family=family.name, roles=family.draw.simplest, rows=rows or (Row(),))
