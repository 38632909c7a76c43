"""Whether a built model is made as its family file says: a wrong word there would turn clauses off, or look elsewhere.

And how its positions are seen there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from conformance.core.errors import UserError
from conformance.families.family import Family

ROTARY = "rotary_emb"
"""How transformers calls the module that makes the angles."""
_TABLE = re.compile(r"position|wpe")


def check_anatomy(model: nn.Module, family: Family, layers: int) -> None:
    """Raise :class:`~conformance.core.errors.UserError` if ``model``, of that many ``layers``, contradicts ``family.anatomy``."""
    for problem in _contradictions(dict(model.named_modules()), family, layers):
        raise UserError(
            "contradictory-family",
            f"{family.name}.toml: {problem}",
            "anatomy says where the layers are and where positions can be seen; the built model is otherwise",
            f"look at the modules of {family.model} and mend [anatomy]",
        )


def _contradictions(modules: dict[str, nn.Module], family: Family, layers: int) -> list[str]:
    anatomy = family.anatomy
    stack = modules.get(anatomy.layers)
    rotary = [name for name in modules if name.endswith(ROTARY)]
    tables = [name for name, m in modules.items() if isinstance(m, nn.Embedding) and _TABLE.search(name)]
    contradictions = [
        (stack is None, f"anatomy.layers is {anatomy.layers!r}, and {family.model} has no such module"),
        (
            stack is not None and not (isinstance(stack, nn.ModuleList) and len(stack) == layers),
            f"anatomy.layers is {anatomy.layers!r}, which does not hold the {layers} layers of the decoder",
        ),
        (
            anatomy.positions == "rotary" and not rotary,
            f"anatomy.positions is 'rotary', and there is no module {ROTARY!r}",
        ),
        (
            anatomy.positions == "learned" and anatomy.table not in modules,
            f"anatomy.table is {anatomy.table!r}, and there is no such module",
        ),
        (
            anatomy.positions == "none" and bool(rotary or tables),
            f"anatomy.positions is 'none', and there is {(rotary + tables or [''])[0]!r}",
        ),
    ]
    return [words for wrong, words in contradictions if wrong]


def position_hooks(model: nn.Module, family: Family, note: Callable[[Tensor], None]) -> list[RemovableHandle]:
    """Hooks on ``model`` that ``note`` the positions it asks for, ``(rows or 1, width)``; none where they cannot be seen."""
    if family.anatomy.positions == "rotary":
        rotary = _rotary(model, family.anatomy.layers)
        return [rotary.register_forward_pre_hook(_asked(note), with_kwargs=True)] if rotary else []
    if family.anatomy.positions == "learned":
        return [model.get_submodule(family.anatomy.table).register_forward_hook(_answered(note))]
    return []


_rotaries: dict[tuple[type[nn.Module], str], str] = {}
"""Where models of a class have the module that makes the angles for layers of that name."""


def _rotary(model: nn.Module, layers: str) -> nn.Module | None:
    """The module that makes the angles for ``layers``, the nearest to them; looked for once per class of models."""
    key = (type(model), layers)
    with suppress(KeyError, AttributeError):  # another model of this class may lack it
        return model.get_submodule(_rotaries[key])
    around = list(accumulate(layers.split("."), "{}.{}".format))
    names = [name for name, _ in model.named_modules() if name.endswith(ROTARY)]
    nearest = max(names, key=lambda name: sum(name.startswith(f"{part}.") for part in around), default="")
    if not nearest:
        return None
    _rotaries[key] = nearest
    return model.get_submodule(nearest)


def _asked(note: Callable[[Tensor], None]) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        positions = [tensor for tensor in tensors if not tensor.is_floating_point() and tensor.ndim > 1]
        if positions:
            note(positions[0].detach().clone())

    return hook


def _answered(note: Callable[[Tensor], None]) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        # Which rows of the table were read, whatever the arguments were called: the drawn rows differ from each other.
        table = module.weight.detach()  # type: ignore[operator]
        rows = (output.detach().unsqueeze(-2) == table).all(-1).int().argmax(-1)
        note(rows - getattr(module, "offset", 0))

    return hook
