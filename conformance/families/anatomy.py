"""Whether a built model is made as its family file says: a wrong word there would turn clauses off, or look elsewhere."""

from __future__ import annotations

import re

from torch import nn

from conformance.core.errors import UserError
from conformance.families.family import Family

ROTARY = "rotary_emb"
"""How transformers calls the module that makes the angles."""
_TABLE = re.compile(r"position|wpe")


def check(model: nn.Module, family: Family, layers: int) -> None:
    """Raise :class:`~conformance.core.errors.UserError` if ``model``, of that many ``layers``, contradicts ``family.anatomy``."""
    for problem in _contradictions(dict(model.named_modules()), family, layers):
        raise UserError(
            "contradictory-family",
            f"{family.name}.toml: {problem}",
            "anatomy says where the layers are and where positions can be seen; the built model is otherwise",
            f"look at the modules of {family.model} and mend [anatomy]",
        )


def _contradictions(modules: dict[str, nn.Module], family: Family, layers: int) -> list[str]:
    said = family.anatomy
    held = modules.get(said.layers)
    rotary = [name for name in modules if name.endswith(ROTARY)]
    tables = [name for name, m in modules.items() if isinstance(m, nn.Embedding) and _TABLE.search(name)]
    seen = {"rotary": rotary, "learned": tables}.get(said.positions, [])
    wrong = [
        (held is None, f"anatomy.layers is {said.layers!r}, and {family.model} has no such module"),
        (
            held is not None and not (isinstance(held, nn.ModuleList) and len(held) == layers),
            f"anatomy.layers is {said.layers!r}, which does not hold the {layers} layers of the decoder",
        ),
        (said.positions == "rotary" and not seen, f"anatomy.positions is 'rotary', and there is no module {ROTARY!r}"),
        (
            said.positions == "learned" and said.table not in modules,
            f"anatomy.table is {said.table!r}, and there is no such module",
        ),
        (
            said.positions == "none" and bool(rotary or tables),
            f"anatomy.positions is 'none', and there is {(rotary + tables or [''])[0]!r}",
        ),
    ]
    return [words for is_wrong, words in wrong if is_wrong]
