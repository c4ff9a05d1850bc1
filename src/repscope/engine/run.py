"""From a plan to HSIC of all pairs: which sums are added up, by whom, and what they give together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from repscope.engine.accumulate import Matrix
from repscope.engine.batchwise import BatchVisitor, accumulate_batches, finish_batches
from repscope.engine.exact import (
    MomentVisitor,
    accumulate_moments,
    accumulate_tiles,
    accumulate_tiles_together,
    finish_moments,
    finish_tiles,
    layer_tiles,
    layer_tiles_together,
    moment_thirds,
)
from repscope.engine.partial import Checkpoint, Partial, Shard
from repscope.engine.plan import Plan
from repscope.engine.stream import Source
from repscope.engine.threads import one_blas_thread
from repscope.engine.tiles import LayerTiles
from repscope.errors import InputError
from repscope.measures._sums import CenteredSums
from repscope.measures.kernels import RBF, Estimator, Kernel, Linear, minimum_examples

_ALL = Shard()


@dataclass(frozen=True)
class Work:
    """How the work is divided and kept.

    Attributes:
        shard: This process's share.
        gather: From this process's partial result to those of all shares; None where they are merged later.
        resume: What an earlier run of this share has added up.
        checkpoint: Called with what makes the state, after every step.
        tiles: How activations become entries of the Gram matrices, where that is settled; see :func:`fit_tiles`.
    """

    shard: Shard = _ALL
    gather: Callable[[Partial], Sequence[Partial]] = lambda partial: [partial]
    resume: Partial | None = None
    checkpoint: Checkpoint | None = None
    tiles: Sequence[LayerTiles] | None = None


@dataclass(frozen=True)
class GramScores:
    """HSIC of all pairs of L layers.

    Attributes:
        hsic: Without units (L, L); CKA follows from it.
        units: Each layer's factor (L,); HSIC in units of the activations is ``hsic * outer(units, units)``.
        n: Examples.
        batches: Batches averaged over; None for the exact value.
        centered: Of the whole data set, or of every batch: what the null under permutations depends on, without units.
        thirds: Third-order sums of each layer (L, 5), from some of the examples.
        ordered: Layers whose examples come in an order, which makes an average over batches wrong.
        vanishing: Layers (L,) without variation, or with none that rounding has left.
    """

    hsic: Matrix
    units: Matrix
    n: int
    vanishing: npt.NDArray[np.bool_]
    centered: Sequence[CenteredSums]
    thirds: Matrix
    batches: int | None = None
    ordered: tuple[str, ...] = ()


def accumulate(source: Source, kernel: Kernel, estimator: Estimator, chosen: Plan, seed: int, work: Work) -> Partial:
    """Add up one share of the sums that the plan asks for."""
    if work.resume is not None and work.resume.complete:
        return work.resume
    with one_blas_thread():
        return _accumulate(source, kernel, estimator, chosen, seed, work)


def _accumulate(source: Source, kernel: Kernel, estimator: Estimator, chosen: Plan, seed: int, work: Work) -> Partial:
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
        tile_rows=chosen.tile_rows,
        bandwidth_examples=chosen.bandwidth_examples,
        seed=seed,
        shard=work.shard,
        resume=work.resume,
        checkpoint=work.checkpoint,
        precision=chosen.precision,
        tiles=work.tiles,
    )


def accumulate_together(
    source: Source, kernels: Sequence[Kernel], chosen: Plan, seed: int
) -> tuple[list[Partial], list[list[LayerTiles]]]:
    """Add up the tiles of several kernels that share features, one of them radial, in one process.

    Returns:
        For each kernel its partial result, and how activations became entries.
    """
    with one_blas_thread():
        fitted = layer_tiles_together(source, kernels, chosen.bandwidth_examples, seed, chosen.precision)
        partials = accumulate_tiles_together(
            source, fitted, held_batches=chosen.held_batches, tile_rows=chosen.tile_rows
        )
    return partials, fitted


def fit_tiles(source: Source, kernel: Kernel, chosen: Plan, seed: int) -> list[LayerTiles]:
    """How each layer's activations become entries of its Gram matrix on the routes to the exact value."""
    return layer_tiles(source, kernel, chosen.bandwidth_examples, seed, chosen.precision)


def visitor_for(source: Source, kernel: Kernel, estimator: Estimator, chosen: Plan) -> BatchVisitor | MomentVisitor:
    """What adds up the sums of a route that takes one pass, so that several can share it."""
    if chosen.route == "batch":
        return BatchVisitor(source, kernel, estimator, precision=chosen.precision)
    assert chosen.route == "moments"
    return MomentVisitor(source, kernel)


def entry_itemsize(kernel: Kernel, chosen: Plan, itemsize: int) -> int:
    """Bytes of an entry of the Gram matrices, for activations of ``itemsize`` bytes."""
    if chosen.route == "moments" or not isinstance(kernel, Linear | RBF) or chosen.precision == "float64":
        return 8
    return 4 if chosen.precision != "auto" else itemsize


def finish(partials: Sequence[Partial], estimator: Estimator, names: Sequence[str], itemsize: int) -> GramScores:
    """HSIC of all pairs from the partial results of all shares.

    Args:
        partials: All shares.
        estimator: Of HSIC.
        names: Layer names.
        itemsize: Bytes of an entry of the Gram matrices, by :func:`entry_itemsize`.

    Raises:
        InputError: Shares are missing, doubled, unfinished, or of different kinds.
    """
    first = min(partials, key=lambda partial: partial.shard.index)  # the share that has seen the first batch
    route, thirds = first.route, first.arrays["thirds"]
    if route == "batch":
        sums, units, ordered = finish_batches(partials, names)
        if not sums.batches:
            raise InputError("compare: data must hold at least one batch, got none.")
        hsic = sums.hsic()
        vanishing = ~(np.diag(hsic) > 0)
        return GramScores(
            hsic, units, sums.examples, vanishing, sums.centered, thirds, batches=sums.batches, ordered=tuple(ordered)
        )
    if route == "moments":
        (pair_sums, units), thirds = finish_moments(partials), moment_thirds(partials)
    else:
        pair_sums, units = finish_tiles(partials)
    minimum = minimum_examples(estimator)
    if pair_sums.n < minimum:
        raise InputError(f"compare: data must hold at least {minimum} examples for this estimator, got {pair_sums.n}.")
    return GramScores(
        pair_sums.hsic(estimator),
        units,
        pair_sums.n,
        pair_sums.vanishing(estimator, itemsize),
        [pair_sums.centered(estimator)],
        thirds,
    )
