"""The strategy: valid by construction, small integers only, stratified so that every boundary occurs within any budget.

Hypothesis tries the simplest example first. So each stratum's first Case *is* its boundary, and the others vary around it.
Every clause of a family draws from the same strategies with the same seed, hence meets the same Cases, and the memo of
:mod:`conformance.runs.lab` lets them share the runs.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from conformance.core.case import Case, Placement, Prefix, Roles, Row
from conformance.core.finding import DEFAULT_METHOD
from conformance.families.family import Draw, Family
from conformance.methods import method_named
from conformance.strategies.placements import placement
from conformance.strategies.stratum import Drawer, Stratum

STRATA = (
    Stratum(name="plain", rows=(1,), padding=("even",), prefix_length=("free",), projection=(0,), layers=(1, 2, 3)),
    Stratum(name="one of each", rows=(1, 2), prefix_length=("one",), layers=(3, 1), prompt=(1, 2, 3)),
    Stratum(
        name="n equals the prompt",
        prefix_length=("prompt",),
        layers=(3, 2),
        padding=("even", "some"),
        kv=("one", "all"),
    ),
    Stratum(name="padded", rows=(3, 2), padding=("some",), layers=(2, 1, 4), prompt=(4, 3, 5)),
    Stratum(
        name="all pads but one",
        rows=(2, 3),
        padding=("one",),
        prefix_length=("above", "free", "prompt", "window"),
        kv=("some", "one"),
        prompt=(5, 4, 6),
    ),
    Stratum(name="projection", projection=(4, 6), layers=(3, 2), rows=(2, 1), prefix_length=("below", "window")),
    Stratum(
        name="narrow keys",
        kv=("one", "some"),
        head_size=("own",),
        layers=(2, 3),
        rows=(2, 1),
        prefix_length=("above", "free"),
    ),
    Stratum(
        name="window",
        prefix_length=("window",),
        layers=(3, 2, 4),
        padding=("even", "some"),
        head_size=("own", "derived"),
        rare_first=True,
    ),
)


def cases(family: Family, stratum: Stratum, method: str = DEFAULT_METHOD) -> SearchStrategy[Case]:
    """The Cases of ``family`` with ``method`` within ``stratum``."""
    varied = method_named(method).varied

    @st.composite
    def drawn(draw: Drawer) -> Case:
        roles = _roles(draw, family.draw, stratum)
        rows = _rows(draw, stratum)
        return Case(
            family=family.name,
            roles=roles,
            rows=rows,
            method=method,
            prefix=_only(varied, _prefix(draw, stratum, roles, max(row.length for row in rows))),
            new_tokens=draw(st.sampled_from((5, 6, 4))),
            attention=_pick(draw, stratum.variants(("default", "eager"))),
            placement=placement(draw, stratum.maps) if stratum.maps else Placement(),
            seed=draw(st.integers(0, 9)),
        )

    return drawn()


def _only(varied: frozenset[str], prefix: Prefix) -> Prefix:
    """The drawn prefix, with what means nothing to the method at its default. Drawn all the same: draws must not shift."""
    return Prefix(**{name: getattr(prefix, name) for name in prefix.__struct_fields__ if name in varied})


def _pick(draw: Drawer, values: tuple[Any, ...]) -> Any:
    return draw(st.sampled_from(values))


def _roles(draw: Drawer, space: Draw, stratum: Stratum) -> Roles:
    layers = _pick(draw, tuple(n for n in stratum.layers or space.layers if n in space.layers) or space.layers)
    kv = _pick(draw, stratum.kv) if space.grouped else "all"
    heads = _pick(draw, tuple(n for n in space.heads if n > 1) if kv != "all" else space.heads)
    head_dim = _pick(draw, space.head_dim)
    own = space.own_head_dim and _pick(draw, stratum.head_size) == "own"
    sliding = _pick(draw, space.sliding)
    return Roles(
        layers=layers,
        encoder_layers=_encoder_layers(draw, space, stratum, layers),
        heads=heads,
        kv_heads=_kv_heads(draw, kv, heads),
        head_dim=head_dim,
        width=heads * (_pick(draw, tuple(n for n in (4, 6, 8) if n != head_dim)) if own else head_dim),
        ffn=_pick(draw, space.ffn),
        positions=_pick(draw, space.positions),
        tied=_pick(draw, stratum.variants(space.tied)),
        activation=_pick(draw, space.activation),
        rope=_pick(draw, stratum.variants(space.rope)),
        rotary=_pick(draw, space.rotary),
        window=_pick(draw, space.windows) if any(sliding) else 0,
        sliding=sliding,
    )


def _encoder_layers(draw: Drawer, space: Draw, stratum: Stratum, layers: int) -> int:
    if space.encoder_layers == "none":
        return 0
    return layers + (_pick(draw, stratum.variants((0, 1))) if space.encoder_layers == "free" else 0)


def _kv_heads(draw: Drawer, kv: str, heads: int) -> int:
    divisors = tuple(n for n in range(1, heads) if heads % n == 0)
    return {"all": heads, "one": 1}.get(kv) or _pick(draw, divisors[::-1])


def _rows(draw: Drawer, stratum: Stratum) -> tuple[Row, ...]:
    count = _pick(draw, stratum.rows)
    longest = _pick(draw, stratum.prompt)
    spread = _pick(draw, stratum.padding) if count > 1 else "even"
    lengths = [longest] * count
    if spread == "one":
        lengths[0] = 1
    elif spread == "some":
        lengths[:-1] = [draw(st.integers(1, max(1, longest - 1))) for _ in lengths[:-1]]
    return tuple(Row(length=length, seed=draw(st.integers(0, 9))) for length in lengths)


def _prefix(draw: Drawer, stratum: Stratum, roles: Roles, prompt: int) -> Prefix:
    where = _pick(draw, stratum.prefix_length)
    free: int = draw(st.sampled_from((2, 1, 3, 4, 5, 6)))
    edge = draw(st.sampled_from((0, -1, 1)))
    window = roles.window
    lengths: dict[str, int] = {
        "one": 1,
        "prompt": prompt,
        "window": max(1, window + edge) if window else free,
        "below": max(1, window - 1) if window else free,
        "above": max(prompt, window) + 1,
    }
    length: int = lengths.get(where, free)
    return Prefix(length=length, projection=_pick(draw, stratum.projection), seed=draw(st.integers(0, 9)))
