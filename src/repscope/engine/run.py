"""From a plan to HSIC of all pairs: which sums are added up, by whom, and what they give together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from repscope.engine.accumulate import Matrix
from repscope.engine.batchwise import accumulate_batches, finish_batches
from repscope.engine.exact import accumulate_moments, accumulate_tiles, finish_moments, finish_tiles
from repscope.engine.partial import Checkpoint, Partial, Shard
from repscope.engine.plan import Plan
from repscope.engine.stream import Source
from repscope.measures.kernels import Estimator, Kernel

BANDWIDTH_EXAMPLES = 4096
"""Examples whose distances set the bandwidth of a radial kernel, where there are more."""


_ALL = Shard()


@dataclass(frozen=True)
class Work:
    """How the work is divided and kept.

    Attributes:
        shard: This process's share.
        gather: From this process's partial result to those of all shares; None where they are merged later.
        resume: What an earlier run of this share has added up.
        checkpoint: Called with the state now and then.
    """

    shard: Shard = _ALL
    gather: Callable[[Partial], Sequence[Partial]] = lambda partial: [partial]
    resume: Partial | None = None
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True)
class GramScores:
    """HSIC of all pairs of L layers.

    Attributes:
        hsic: Without units (L, L); CKA follows from it.
        units: Each layer's factor (L,); HSIC in units of the activations is ``hsic * outer(units, units)``.
        n: Examples.
        batches: Batches averaged over; None for the exact value.
        ordered: Layers whose examples come in an order, which makes an average over batches wrong.
    """

    hsic: Matrix
    units: Matrix
    n: int
    batches: int | None = None
    ordered: tuple[str, ...] = ()


def accumulate(source: Source, kernel: Kernel, estimator: Estimator, chosen: Plan, seed: int, work: Work) -> Partial:
    """Add up one share of the sums that the plan asks for."""
    if work.resume is not None and work.resume.complete:
        return work.resume
    if chosen.route == "batch":
        return accumulate_batches(
            source,
            kernel,
            estimator,
            shard=work.shard,
            resume=work.resume,
            checkpoint=work.checkpoint,
            precision=chosen.precision,
        )
    if chosen.route == "moments":
        return accumulate_moments(source, kernel, shard=work.shard, resume=work.resume, checkpoint=work.checkpoint)
    return accumulate_tiles(
        source,
        kernel,
        held_batches=chosen.held_batches,
        bandwidth_examples=BANDWIDTH_EXAMPLES,
        seed=seed,
        shard=work.shard,
        resume=work.resume,
        checkpoint=work.checkpoint,
        precision=chosen.precision,
    )


def finish(partials: Sequence[Partial], estimator: Estimator, names: Sequence[str]) -> GramScores:
    """HSIC of all pairs from the partial results of all shares.

    Raises:
        InputError: Shares are missing, doubled, unfinished, or of different kinds.
    """
    route = partials[0].route
    if route == "batch":
        sums, units, ordered = finish_batches(partials, names)
        return GramScores(sums.hsic(), units, sums.examples, sums.batches, tuple(ordered))
    pair_sums, units = finish_moments(partials) if route == "moments" else finish_tiles(partials)
    return GramScores(pair_sums.hsic(estimator), units, pair_sums.n)
