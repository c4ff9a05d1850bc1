"""How many examples are enough for a CKA, and how it changes with their number."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from repscope.compare import compare
from repscope.comparison import Comparison
from repscope.errors import InputError, RepscopeWarning
from repscope.measures._messages import check_seed, is_whole
from repscope.subjects import Subject, resolve

_FEWEST = 8
"""Of fewer there is neither a variance nor a p-value."""


@dataclass(frozen=True)
class RequiredExamples:
    """How many examples each score needs.

    Attributes:
        for_chance: Until chance explains less than was asked for (rows, columns); infinite where the sample says no
            more than that it is too small, NaN where the score is undefined.
        for_width: Until the interval is as narrow as was asked for (rows, columns).
        n: Examples there were.
        sentence: The same in plain words.
    """

    for_chance: np.ndarray
    for_width: np.ndarray
    n: int
    sentence: str

    @property
    def needed(self) -> np.ndarray:
        """The larger of the two (rows, columns)."""
        found: np.ndarray = np.maximum(np.maximum(self.for_chance, self.for_width), _FEWEST)
        return found

    def __str__(self) -> str:
        return self.sentence


def required_examples(
    comparison: Comparison, *, chance: float = 0.05, half_width: float = 0.05, level: float = 0.95
) -> RequiredExamples:
    """How many examples a CKA needs, from a comparison on some.

    Chance, unbiased: unrelated layers score below ``chance`` with probability ``level``; the spread of their scores
    goes as 1/n. Chance, biased: unrelated layers score √(PQ/((n + P)(n + Q))) on average, with the participation
    ratios P and Q of the population (not the widths), which is ε at n = P(1 − ε)/ε. The sample's own ratio is smaller,
    nP/(n + P); that is undone here, as for normal features of one geometric mean. Width: the standard error goes as
    1/√n, so that n grows with its square.

    Args:
        comparison: CKA on a sample, with standard errors.
        chance: What unrelated layers may score.
        half_width: Of the interval.
        level: Of the interval, and with which unrelated layers stay below ``chance``.

    Returns:
        Numbers of examples for every pair, and a sentence.

    Raises:
        InputError: Another measure, no standard errors, or numbers outside (0, 1).

    Example:
        >>> import numpy as np, repscope
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.standard_normal((64, 512)), rng.standard_normal((64, 256))
        >>> print(required_examples(repscope.compare({"x": x}, {"y": y}, estimator="biased")))
        64 examples are too few for 1 of 1 scores; up to about 6,700 are needed (x × y).
    """
    for name, value in (("chance", chance), ("half_width", half_width), ("level", level)):
        if not 0 < value < 1:
            raise InputError(
                f"required_examples: {name} must lie between 0 and 1, got {value!r}. The default is usual."
            )
    if comparison.measure != "cka" or comparison.n is None or comparison.null_mean is None:
        raise InputError(
            f"required_examples: comparison must be of CKA, got {comparison.measure!r}. Its chance level has a formula."
        )
    n = comparison.n
    low, high = comparison.interval(level)  # refuses where there are no standard errors
    with np.errstate(divide="ignore", invalid="ignore"):
        for_width = np.ceil(n * ((high - low) / 2 / half_width) ** 2)
        for_chance = np.ceil(_until_chance(comparison, n, chance, level))
    needed = np.maximum(np.maximum(for_chance, for_width), _FEWEST)
    return RequiredExamples(for_chance, for_width, n, _sentence(comparison, n, needed))


def _until_chance(comparison: Comparison, n: int, chance: float, level: float) -> np.ndarray:
    assert comparison.null_mean is not None
    if comparison.conventions.get("estimator") == "unbiased":
        assert comparison.null_sd is not None
        spread: np.ndarray = comparison.null_sd * NormalDist().inv_cdf(level) * n / chance
        return spread
    in_sample = comparison.null_mean * (n - 1)  # √(PQ) of the sample
    population = np.where(in_sample < n, n * in_sample / (n - in_sample), math.inf)
    return np.where(np.isnan(in_sample), np.nan, population * (1 - chance) / chance)


def _sentence(comparison: Comparison, n: int, needed: np.ndarray) -> str:
    defined = needed[~np.isnan(needed)]
    if not defined.size:
        return f"None of {needed.size} scores is defined."
    few = int((defined > n).sum())
    if not few:
        return f"{n:,} examples are enough for all {defined.size} scores."
    i, j = np.unravel_index(int(np.nanargmax(needed)), needed.shape)
    most = float(needed[i, j])
    where = f"{comparison.row_layers[i]} × {comparison.column_layers[j]}"
    said = f"up to about {_rounded(most):,} are needed" if math.isfinite(most) else "how many are needed cannot be told"
    return f"{n:,} examples are too few for {few} of {defined.size} scores; {said} ({where})."


def _rounded(number: float) -> int:
    """Up to two digits: an extrapolation has no more."""
    step = int(10 ** max(0, math.floor(math.log10(number)) - 1))
    return math.ceil(number / step) * step


def compare_sizes(
    a: Any, b: Any = None, *, data: Any = None, sizes: Sequence[int] | None = None, seed: int = 0, **settings: Any
) -> list[Comparison]:
    """The same comparison on growing numbers of examples, from one pass over the data: a shuffled loader is safe.

    Each sample holds the one before; together they show whether a score is that of the networks or of the sample.
    Examples that come from one item of the data, as the positions of an image, are taken together.
    ``repscope.plot.sample_size`` draws them.

    Args:
        a: As for :func:`compare`. The activations of all examples must fit the memory.
        b: As for :func:`compare`.
        data: What modules are run on.
        sizes: Numbers of examples; None: all, half of them, a quarter …, down to 16.
        seed: For the order in which examples are taken.
        **settings: Further arguments of :func:`compare`.

    Returns:
        A comparison for each size, in rising order; of their warnings only those of the largest are given.

    Raises:
        InputError: As for :func:`compare`, or a size is below 8, above the number of examples, or no whole number of
            items.
    """
    check_seed("compare_sizes", seed)
    subjects = _held(a, b, data, settings)
    n = min(int(x.shape[0]) for subject in subjects for x in (subject.arrays or {}).values())
    rate = subjects[0].rows_per_item
    together = int(rate) if rate.is_integer() and n % rate == 0 else 1
    wanted = _sizes(n, together) if sizes is None else _checked(sizes, n, together)
    order = np.random.default_rng(seed).permutation(n // together)
    found = []
    for size in wanted:
        items = np.sort(order[: size // together])
        rows = (items[:, None] * together + np.arange(together)).ravel()
        parts = [
            replace(subject, arrays={key: x[rows] for key, x in (subject.arrays or {}).items()}) for subject in subjects
        ]
        with warnings.catch_warnings():
            if size != wanted[-1]:
                warnings.simplefilter("ignore", RepscopeWarning)
            found.append(compare(*(parts if b is not None else [{part.name: part for part in parts}]), **settings))
    return found


def _sizes(n: int, together: int) -> list[int]:
    """All examples, half of the items, a quarter …, down to 16 examples."""
    halves = {n // together // 2**k * together for k in range(12)}
    return _checked([size for size in halves if size >= 16 or size == n], n, together)


def _checked(sizes: Sequence[int], n: int, together: int) -> list[int]:
    """The sizes in rising order."""
    if not np.ndim(sizes) or not all(map(is_whole, sizes)):
        raise InputError(
            f"compare_sizes: sizes must be a list of whole numbers, got {sizes!r}. Leave it out for all examples, half "
            "of them, a quarter and so on."
        )
    wanted = sorted({int(size) for size in sizes})
    if not wanted or wanted[0] < _FEWEST or wanted[-1] > n:
        raise InputError(
            f"compare_sizes: sizes must lie between {_FEWEST} and the {n} examples there are, got {wanted}."
        )
    if any(size % together for size in wanted):
        raise InputError(
            f"compare_sizes: sizes must be multiples of the {together} examples that come from one item of the data, "
            f"got {wanted}. Items are taken whole, because examples of one item are not independent."
        )
    return wanted


def _held(a: Any, b: Any, data: Any, settings: dict[str, Any]) -> list[Subject]:
    """The subjects with their activations, all models run on the same batches; takes settings of that away."""
    from repscope.engine.plan import memory_budget
    from repscope.engine.stream import ArraySource
    from repscope.opened import open_activations
    from repscope.sources import Keep

    subjects, _ = resolve(a, b, settings.pop("layers", None))
    memory = settings.get("memory")
    opened = open_activations(
        subjects,
        data,
        settings.pop("forward", None),
        reduce=settings.get("reduce", "auto"),
        batch_size=settings.pop("batch_size", 256),
        memory=None if memory is None else memory_budget(memory),
        identified=False,
        progress=settings.get("progress"),
    )
    source = opened.source
    if not isinstance(source, ArraySource):
        keep = Keep(source, opened.memory, "compare_sizes")
        source.stream(keep)
        source = keep.source()
    arrays = iter(source.arrays)
    return [
        Subject(
            subject.name,
            arrays={name: next(arrays) for name in names},
            dtypes=tuple(opened.dtypes),
            rows_per_item=opened.rows_per_item,
        )
        for subject, names in zip(subjects, opened.layers, strict=True)
    ]
