"""What the measures of one comparison share: a pass over the data, and sums over tiles of Gram matrices."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from repscope.engine.batchwise import BatchVisitor
from repscope.engine.exact import MomentVisitor
from repscope.engine.partial import Partial
from repscope.engine.plan import Plan, shared
from repscope.engine.run import accumulate_together
from repscope.engine.stream import ArraySource
from repscope.engine.tiles import LayerTiles
from repscope.measures.kernels import Kernel
from repscope.observing import Observation
from repscope.opened import Opened


@dataclass
class Found:
    """What the first pass has brought, and what one measure leaves for the next.

    Attributes:
        plans: Of each measure that comes from sums, by label.
        visitors: Those that hold its sums, where one pass was enough.
        held: The activations of all examples, where a measure needs them and they fit.
        partials: Sums over tiles, by what they are of.
        tiles: How activations became entries in them.
    """

    plans: dict[str, Plan] = field(default_factory=dict)
    visitors: dict[str, BatchVisitor | MomentVisitor] = field(default_factory=dict)
    held: ArraySource | None = None
    partials: dict[Hashable, Sequence[Partial]] = field(default_factory=dict)
    tiles: dict[Hashable, Sequence[LayerTiles] | None] = field(default_factory=dict)


def add_up_together(
    wanted: Mapping[Hashable, tuple[Kernel, Plan]],
    opened: Opened,
    route: str,
    seen: Observation,
    seed: int,
    found: Found,
) -> None:
    """Add up the sums over tiles of all kernels of one route at once, where that serves.

    Args:
        wanted: By the key of the sums, kernels that share features and how each would go alone.
        opened: The activations.
        route: Of those that come together.
        seen: Watches activations that are streamed.
        seed: For the sample that sets bandwidths.
        found: Gets the sums and how activations became entries; is left as it is where nothing is shared.
    """
    alike = {key: (kernel, plan) for key, (kernel, plan) in wanted.items() if plan.route == route}
    source: Any = opened.source
    in_memory = isinstance(source, ArraySource)
    tiled = route in ("memory", "passes")
    plans = [plan for _, plan in alike.values()]
    together = shared(plans, source.widths, source.rows_expected) if tiled else None
    if together is None:
        return
    source = seen.watched(opened.cut(together).source if in_memory else source, together.held_batches)
    partials, fitted = accumulate_together(source, [kernel for kernel, _ in alike.values()], together, seed)
    for key, partial, tiles in zip(alike, partials, fitted, strict=True):
        found.partials[key], found.tiles[key] = [partial], tiles
