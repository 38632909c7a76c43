"""Whether a built model is made as its family file says: a wrong word there would turn clauses off, or look elsewhere."""

from __future__ import annotations

import re

from torch import nn

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
        (anatomy.positions == "rotary" and not rotary, f"anatomy.positions is 'rotary', and there is no module {ROTARY!r}"),
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
