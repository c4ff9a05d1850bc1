"""What a layer is like, and whether that makes its scores mean less than they seem to.

A score between two layers says little where a few examples, one direction or one feature decide it. The facts here come
from sums over all examples and a random sample of them (see :mod:`repscope.inference.observer`); each that matters has
a threshold, and the layers beyond it are named in one warning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from repscope.engine.drift import DriftStatistic
from repscope.engine.stream import ArraySource
from repscope.engine.threads import divided, one_blas_thread
from repscope.errors import InputError
from repscope.inference.ledger import Ledger
from repscope.inference.observer import Observer
from repscope.inference.passes import Floats
from repscope.inference.record import Integers, LayerRecord
from repscope.inference.spectrum import Spectrum, halving_shift
from repscope.measures._arrays import Array, check_representation
from repscope.measures._messages import check_seed

MASSIVE = 200.0
"""Times the distance of a typical feature from a typical value that one reaches. Massive activations of language models
reach 100 to 1,000 times the typical one and more (Sun et al. 2024); those of convolutional networks, trained or not,
stay below 100. A feature's distance, not its deviation alone: in a layer that hardly varies no feature stands out.
"""


@dataclass(frozen=True)
class LayerDiagnostics:
    """Facts of one layer; None where there is nothing to say, as for most of them in a constant layer.

    Attributes:
        examples: Examples n.
        features: Features p.
        sampled_examples: Examples whose features the facts from the participation ratio to the shift come from, the
            farthest included; all of them where this is n.
        participation_ratio: tr(Kc)² / tr(Kc²) of the centred linear Gram matrix: how many directions carry variance.
        first_component_share: Share of the variance along the first principal component.
        spectrum: The same of the leading components, largest first, ``COMPONENTS`` at most and to four digits. A sample
            of few examples raises the first of them and cuts off the tail.
        dominant_share: Share of tr(Kc²) that vanishes without the farthest hundredth of the examples, 32 at most.
        dominant_rows: The fewest of these that bring nine tenths of it, where it is above ``DOMINANCE``.
        apart_share: Share of the examples in the smaller of the two groups that the first component falls into.
        translation_share: Share of all variance between these two groups, where they are clearly apart; else 0.
        halving_shift: Moving a hundredth of the examples this far, in root mean square distances from the mean and
            along a direction of its own, halves the CKA of the layer with itself (after Davari et al. 2022).
        massive_features: Indices of features that reach ``MASSIVE`` times a typical one, largest first, 16 at most;
            ``massive_count`` is their number.
        massive_count: See ``massive_features``.
        largest_activation: Largest distance of an activation from a typical value, over that of a typical feature.
        constant_features: Features with one value for all examples.
        repeated_examples: Examples that equal another one, up to rounding, the first of each kind not counted.
        blank_examples: Examples whose features are all nearly equal.
        listed_examples: Examples that the last two numbers and the order come from: all, or a sample of 16384.
        order: F statistic of consecutive blocks of examples: about 1 in random order.
        ordered: Whether the examples come in an order, so that estimates from batches of them are wrong.
        seed: Of the samples and the sketches.
    """

    examples: int
    features: int
    sampled_examples: int
    participation_ratio: float | None
    first_component_share: float | None
    spectrum: tuple[float, ...]
    dominant_share: float | None
    dominant_rows: tuple[int, ...]
    apart_share: float | None
    translation_share: float | None
    halving_shift: float | None
    massive_features: tuple[int, ...]
    massive_count: int
    largest_activation: float | None
    constant_features: int
    repeated_examples: int
    blank_examples: int
    listed_examples: int
    order: float | None
    ordered: bool
    seed: int


def diagnose(layers: Any, *, seed: int = 0) -> Any:
    """What is known of a representation by itself: facts that say whether its scores can be believed.

    :func:`repscope.compare` finds the same facts for every layer as the activations go by, and warns of those that
    matter.

    Args:
        layers: One representation (n, p), or a mapping of names to representations of the same examples.
        seed: For the sample of examples and the sketches of wide layers.

    Returns:
        A :class:`LayerDiagnostics`, or a dict of them by name.

    Raises:
        InputError: For arrays that are no matrices of finite numbers, or that differ in their number of rows.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).standard_normal((200, 10))
        >>> x[17] *= 100
        >>> facts = diagnose(x)
        >>> facts.dominant_rows, round(facts.dominant_share, 2)
        ((17,), 1.0)
    """
    check_seed("diagnose", seed)
    alone = not isinstance(layers, Mapping)
    given = {"x": layers} if alone else dict(layers)
    if not given:
        raise InputError("diagnose: layers must hold at least one representation, got none.")
    arrays = {name: check_representation("diagnose", x, name) for name, x in given.items()}
    rows = {name: int(x.shape[0]) for name, x in arrays.items()}
    if len(set(rows.values())) > 1:
        raise InputError(f"diagnose: layers must have the same number of rows, got {rows}. Give the same examples.")
    source = ArraySource(list(arrays.values()), list(arrays))
    observer = Observer(source.names, source.widths, seed=seed, expected=source.n)
    with one_blas_thread():
        observer.of_stream(source)
    found = facts(observer)
    return found[0] if alone else dict(zip(arrays, found, strict=True))


def facts(observer: Observer) -> list[LayerDiagnostics]:
    """The facts of every layer that the observer has seen."""
    held = sum(layer.sample.nbytes for layer in observer.layers)
    with one_blas_thread(), np.errstate(all="ignore"):  # what overflows is None
        return divided(partial(_facts, observer), observer.layers, held)


def _facts(observer: Observer, layer: LayerRecord) -> LayerDiagnostics:
    n = observer.n
    view = Spectrum.of(observer, layer)
    ledger = Ledger.of(observer, layer)
    varied = view is not None
    largest, massive = _massive(layer) if varied else (None, np.empty(0, np.int64))
    order = ledger.order() if varied else DriftStatistic()
    f = order.f
    return LayerDiagnostics(
        examples=n,
        features=layer.width,
        sampled_examples=0 if view is None else view.count,
        participation_ratio=None if view is None else view.participation_ratio,
        first_component_share=None if view is None else view.first_component_share,
        spectrum=() if view is None else view.shares,
        dominant_share=None if view is None else view.dominance,
        dominant_rows=() if view is None else view.dominant_rows,
        apart_share=None if view is None else view.apart_share,
        translation_share=None if view is None else view.translation_share,
        halving_shift=None if view is None else halving_shift(view.participation_ratio, n),
        massive_features=tuple(massive[:16].tolist()),
        massive_count=int(massive.size),
        largest_activation=largest,
        constant_features=int(layer.constant.size),
        repeated_examples=ledger.repeated(),
        blank_examples=ledger.blank() if varied else 0,
        listed_examples=ledger.count,
        order=float(f) if math.isfinite(f) else None,
        ordered=order.ordered,
        seed=observer.seed,
    )


# -- features ----------------------------------------------------------------------------------------------------------


def massive_features(x: Array, *, threshold: float = MASSIVE) -> tuple[int, ...]:
    """Features that reach extreme values: massive activations (Sun et al. 2024).

    A feature counts where one of its values lies ``threshold`` times as far from a typical value (the median of the
    features' means) as a typical feature does (the median of their root mean squares, of those that vary). Such a
    feature decides products and distances of examples alone; cosines and precision suffer even where it hardly varies.

    Args:
        x: Representation (n, p).
        threshold: How many times.

    Returns:
        Indices of features, the most extreme first.

    Raises:
        InputError: For an array that is no matrix of finite numbers, or a threshold that is not positive.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).standard_normal((100, 20))
        >>> x[3, 7] = -500.0
        >>> massive_features(x)
        (7,)
    """
    x = np.asarray(check_representation("massive_features", x), dtype=np.float64)
    if not threshold > 0:
        raise InputError(f"massive_features: threshold must be positive, got {threshold}. Use 200, for example.")
    mean = x.mean(axis=0)
    reach = _reach(mean, x.std(axis=0), x.max(axis=0), x.min(axis=0))
    return tuple(_beyond(reach, threshold).tolist())


def _massive(layer: LayerRecord) -> tuple[float | None, Integers]:
    """The farthest reach of a feature of this layer, and the features whose reach is massive."""
    shift = layer.shift.astype(np.float64)
    columns = layer.columns
    mean = columns.sums / columns.count
    deviations = np.sqrt(np.maximum(columns.squares / columns.count - mean * mean, 0.0))
    reach = _reach(mean + shift, deviations, columns.highest + shift, columns.lowest + shift)
    return (float(reach.max()) if np.isfinite(reach).all() else None), _beyond(reach, MASSIVE)


def _reach(mean: Floats, deviations: Floats, highest: Floats, lowest: Floats) -> Floats:
    """Largest distance (p,) of each feature's values from a typical one, over that of a typical feature."""
    varying = deviations > 0
    if not varying.any():
        return np.zeros_like(deviations)
    centre = np.median(mean)
    usual = np.hypot(mean - centre, deviations)[varying]
    reach: Floats = np.maximum(highest - centre, centre - lowest) / np.median(usual)
    return reach


def _beyond(reach: Floats, threshold: float) -> Integers:
    found = np.flatnonzero(reach >= threshold)
    return found[np.argsort(-reach[found], kind="stable")]
