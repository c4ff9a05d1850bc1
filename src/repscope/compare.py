"""The conductor: data and models in, capture and engine at work, a :class:`Comparison` out."""

from __future__ import annotations

import math
import platform
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal, overload

import numpy as np

from repscope._progress import track
from repscope.comparison import Comparison
from repscope.engine.accumulate import Matrix
from repscope.engine.batchwise import batch_sums
from repscope.engine.exact import moment_sums, tile_sums
from repscope.engine.plan import Plan, memory_budget, plan
from repscope.engine.products import flops_per_second, native
from repscope.engine.stream import ArraySource, Source
from repscope.engine.tiles import tileable
from repscope.errors import DataOrderWarning, DegenerateInputWarning, InputError, RepscopeWarning
from repscope.measures.catalog import ConfiguredMeasure, configure, describe
from repscope.measures.kernels import RBF, KernelLike, Laplace, as_kernel
from repscope.subjects import Subject, check_examples, resolve

BANDWIDTH_EXAMPLES = 4096
"""Examples whose distances set the bandwidth of a radial kernel, where there are more."""


@overload
def compare(a: Any, b: Any = None, *, measure: str | ConfiguredMeasure = "cka", **settings: Any) -> Comparison: ...
@overload
def compare(
    a: Any, b: Any = None, *, measure: Sequence[str | ConfiguredMeasure], **settings: Any
) -> dict[str, Comparison]: ...
def compare(
    a: Any,
    b: Any = None,
    *,
    data: Any = None,
    measure: str | ConfiguredMeasure | Sequence[str | ConfiguredMeasure] = "cka",
    layers: Any = None,
    kernel: KernelLike = "linear",
    estimator: str = "unbiased",
    pairs: Literal["auto", "all", "batch"] = "auto",
    reduce: Any = "auto",
    forward: Callable[..., Any] | None = None,
    batch_size: int = 256,
    memory: float | str | None = None,
    seed: int = 0,
    progress: bool | None = None,
    **options: Any,
) -> Comparison | dict[str, Comparison]:
    """Compare the layers of networks, every layer with every other.

    One pass over the data feeds all models the same batches, so a shuffled loader is safe.

    Args:
        a: A torch module; a mapping of layer names to arrays (n, p); a path to stored representations (.npy, .npz,
            .safetensors); or a mapping of model names to any of these, for all models against all.
        b: The second model, in any of these forms but the last; None to compare within ``a``.
        data: What the models are run on: a DataLoader, an iterable of batches, a Dataset, or arrays. Batches are
            tensors, tuples (x, y), or dicts passed by keyword. Not used for arrays and paths.
        measure: An id of ``repscope.measures()``, a measure settled by ``repscope.configure``, or a list of these,
            which share the pass over the data.
        layers: Names, globs, module types or predicates, in a list where there are several; a tuple of two, one for
            ``a`` and one for ``b``; None for the default set (see :mod:`repscope.capture.layers`).
        kernel: Kernel of HSIC and CKA: ``"linear"``, ``RBF(0.4)`` …
        estimator: Estimator of HSIC and CKA: ``"unbiased"`` or ``"biased"``.
        pairs: ``"all"``: every pair of examples, the exact value of the whole data set. ``"batch"``: pairs within a
            batch, the minibatch estimate of Nguyen et al. (2021), wrong on ordered data. ``"auto"``: exact unless that
            would cost several times the forward passes; the result says which.
        reduce: How an activation becomes (examples, features): ``"auto"`` (convolution maps flattened as in the
            paper, token layers averaged under their mask), ``"flatten"``, ``"mean"``, ``"positions"``, ``"tokens"``,
            ``"first"``, ``"last"``, a function, or a mapping from layer globs to these.
        forward: A function of (model, batch), for models that need more than ``model(x)`` or ``model(**batch)``.
        batch_size: Examples per batch, where ``data`` does not come in batches.
        memory: Budget for activations and tiles, in bytes or as text such as ``"4GB"``; None: half of what is free.
        seed: For the sample of examples that sets a radial kernel's bandwidth in large data sets.
        progress: Show a bar on stderr; None: where stderr is a terminal.
        **options: Further options of the measure, such as ``summary="mean"``.

    Returns:
        A :class:`Comparison`; for a list of measures a dict of them by label.

    Raises:
        InputError: For arguments, data or activations that would give meaningless numbers.
        CaptureError: For layers that cannot be recorded.

    Warns:
        DataOrderWarning: With ``pairs="batch"`` on data that come in an order.
        DegenerateInputWarning: For constant layers; their scores are NaN.
        RankWarning: For CCA-like measures with too few examples.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((50, 8))
        >>> result = compare({"one": x, "two": x[:, :3]}, {"three": 2 * x})
        >>> result.values.shape, round(float(result.values[0, 0]), 6)
        ((2, 1), 1.0)
    """
    several = not isinstance(measure, str | ConfiguredMeasure)
    wanted = list(measure) if isinstance(measure, Sequence) and not isinstance(measure, str) else [measure]
    configured = _configure(wanted, kernel, estimator, options)
    if pairs not in ("auto", "all", "batch"):
        raise InputError(f"compare: pairs must be 'auto', 'all' or 'batch', got {pairs!r}.")
    subjects, against = resolve(a, b, layers)
    budget = memory_budget(memory)
    job = _Job(subjects, against, pairs, batch_size, budget, seed, progress, reduce)
    if all(subject.arrays is not None for subject in subjects):
        if data is not None:
            raise InputError("compare: data must be left out when layers are given as arrays; they are compared as is.")
        results = job.over_arrays(configured)
    elif any(subject.arrays is not None for subject in subjects):
        raise InputError(
            "compare: models and stored arrays cannot be mixed, because nothing tells whether their examples match. "
            "Capture the model's representations first (repscope.representations), then compare arrays."
        )
    else:
        if data is None:
            raise InputError("compare: data must be given to run the models on: a DataLoader, a Dataset or arrays.")
        results = job.over_models(configured, data, forward)
    if several:
        return {m.label: result for m, result in zip(configured, results, strict=True)}
    return results[0]


def representations(model: Any, data: Any, layers: Any = None, **settings: Any) -> dict[str, Any]:
    """The representations of a model on a whole data set, in memory; see :func:`repscope.capture.representations`.

    Args:
        model: A torch module.
        data: What it is run on, as for :func:`compare`.
        layers: Which layers, as for :func:`compare`.
        **settings: ``reduce``, ``forward``, ``batch_size`` and ``device``.

    Returns:
        Layer name, in execution order, to a tensor (examples, features).

    Raises:
        InputError: For unknown layers or unusable data.
        CaptureError: For layers that cannot be recorded.
    """
    from repscope import capture

    return dict(capture.representations(model, data, layers, **settings))


def _configure(
    measures: Sequence[str | ConfiguredMeasure], kernel: KernelLike, estimator: str, options: Mapping[str, Any]
) -> list[ConfiguredMeasure]:
    """Settle the options of measures given by id; an option goes to every measure that has it."""
    by_id = [configure(m) for m in measures if not isinstance(m, ConfiguredMeasure)]
    given = {"kernel": kernel, "estimator": estimator, **options}
    changed = [
        *options,
        *(["kernel"] if kernel != "linear" else []),
        *(["estimator"] if estimator != "unbiased" else []),
    ]
    for name in changed:
        if not any(name in m.measure.options for m in by_id):
            ids = ", ".join(m.id for m in by_id) or "measures configured before"
            raise InputError(f"compare: {name} must be an option of the measure, got {given[name]!r} for {ids}.")
    return [
        m
        if isinstance(m, ConfiguredMeasure)
        else configure(m, **{k: v for k, v in given.items() if k in configure(m).measure.options})
        for m in measures
    ]


@dataclass
class _Job:
    """One call of :func:`compare` after its arguments are settled."""

    subjects: list[Subject]
    against: bool
    pairs: Literal["auto", "all", "batch"]
    batch_size: int
    memory: float
    seed: int
    progress: bool | None
    reduce: Any

    def over_arrays(self, measures: Sequence[ConfiguredMeasure]) -> list[Comparison]:
        n = check_examples(self.subjects)
        layers = [tuple(subject.arrays or ()) for subject in self.subjects]
        arrays = [native(x) for subject in self.subjects for x in (subject.arrays or {}).values()]
        source = ArraySource(arrays, self._qualified(layers))
        return [self._score(m, source, layers, n, None) for m in measures]

    def over_models(
        self, measures: Sequence[ConfiguredMeasure], data: Any, forward: Callable[..., Any] | None
    ) -> list[Comparison]:
        from repscope.capture import batches
        from repscope.sources import ModelSource, TooLargeError, collect

        start = time.perf_counter()
        source = ModelSource(
            self.subjects,
            batches(data, batch_size=self.batch_size),
            reduce=self.reduce,
            forward=forward,
            progress=self.progress,
        )
        first_batch_seconds = time.perf_counter() - start
        held: ArraySource | None = None
        if self._worth_keeping(measures, source, first_batch_seconds):
            try:
                held = collect(source, limit=0.8 * self.memory)
            except TooLargeError:
                held = None
        results = []
        for m in measures:
            stream: Source = source if held is None or self._batchwise(m) else held
            results.append(self._score(m, stream, source.layers, None, first_batch_seconds, held=held is not None))
        return results

    def _batchwise(self, measure: ConfiguredMeasure) -> bool:
        return self.pairs == "batch" and _is_gram(measure)

    def _worth_keeping(self, measures: Sequence[ConfiguredMeasure], source: Any, seconds: float) -> bool:
        """Whether the activations are kept in memory between capture and scoring."""
        if all(self._batchwise(m) for m in measures):
            return False
        if any(not _is_gram(m) for m in measures):
            return True
        if len(measures) > 1:
            return True
        return self._plan(measures[0], source, seconds).route in ("memory",)

    def _plan(self, measure: ConfiguredMeasure, source: Any, seconds: float | None) -> Plan:
        in_memory = isinstance(source, ArraySource)
        n = source.n if in_memory else source.rows_expected
        if n is None:
            n = source.n if not source.data.one_pass else 0
        batch = self.batch_size if in_memory else max(1, round(source.examples_per_batch))
        forward = None
        if seconds is not None and not in_memory and source.batches_expected:
            forward = seconds * source.batches_expected
        return plan(
            widths=source.widths,
            n=n,
            batch_size=min(batch, n) if n else batch,
            pairs=self.pairs,
            linear=as_kernel(measure.options["kernel"]).name == "linear",
            itemsize=8 if in_memory and str(source.arrays[0].dtype).endswith("64") else 4,
            memory=self.memory,
            in_memory=in_memory,
            repeatable=in_memory or not source.data.one_pass,
            forward_seconds=forward,
            flops_per_second=flops_per_second() if forward else None,
        )

    def _score(
        self,
        measure: ConfiguredMeasure,
        source: Any,
        layers: Sequence[Sequence[str]],
        n: int | None,
        seconds: float | None,
        *,
        held: bool = False,
    ) -> Comparison:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if (_is_gram(measure) and tileable(as_kernel(measure.options["kernel"]))) or self._batchwise(measure):
                values, conventions, n = self._from_gram(measure, source, layers, seconds)
            else:
                values, conventions, n = self._pairwise(measure, source, layers)
        messages = _summarise(caught)
        for text, category in messages:
            warnings.warn(text, category, stacklevel=4)
        return self._comparison(measure, values, layers, n, conventions, [text for text, _ in messages], source)

    def _from_gram(
        self, measure: ConfiguredMeasure, source: Any, layers: Sequence[Sequence[str]], seconds: float | None
    ) -> tuple[Matrix, dict[str, Any], int]:
        kernel, estimator = as_kernel(measure.options["kernel"]), measure.options["estimator"]
        chosen = self._plan(measure, source, seconds)
        conventions: dict[str, Any] = {"pairs": chosen.pairs, "route": chosen.route, "plan": chosen.reason}
        minimum = measure.facts.minimum_examples
        if chosen.route == "batch":
            if isinstance(source, ArraySource):
                source = ArraySource(source.arrays, source.names, batch_size=self.batch_size)
            sums, units, ordered = batch_sums(source, kernel, estimator)
            hsic, n = sums.hsic(), sums.examples
            conventions["batches"] = sums.batches
            _check_count(n, minimum)
            if ordered:
                _warn_ordered(ordered)
        else:
            if chosen.route == "moments":
                pair_sums, units = moment_sums(source, kernel)
            else:
                pair_sums, units = tile_sums(
                    source,
                    kernel,
                    held_batches=chosen.held_batches,
                    bandwidth_examples=BANDWIDTH_EXAMPLES,
                    seed=self.seed,
                )
                if isinstance(kernel, RBF | Laplace) and kernel.sigma is None:
                    conventions["bandwidth_examples"] = min(pair_sums.n, BANDWIDTH_EXAMPLES)
            n = pair_sums.n
            _check_count(n, minimum)
            hsic = pair_sums.hsic(estimator)
        conventions["passes"] = chosen.passes
        rows, columns = self._axes(layers)
        if measure.id == "hsic":
            return (hsic * np.outer(units, units))[np.ix_(rows, columns)], conventions, n
        return _cka(hsic, source.names)[np.ix_(rows, columns)], conventions, n

    def _pairwise(
        self, measure: ConfiguredMeasure, source: Any, layers: Sequence[Sequence[str]]
    ) -> tuple[Matrix, dict[str, Any], int]:
        if not isinstance(source, ArraySource):
            raise InputError(
                f"compare: {measure.id} needs the representations of all examples in memory, and they do not fit "
                f"memory={self.memory / 2**30:.3g} GiB. Choose fewer layers or examples, or raise memory=."
            )
        _check_count(source.n, measure.facts.minimum_examples)
        rows, columns = self._axes(layers)
        needed = sorted({*rows, *columns})
        states = {
            i: measure.prepare(source.arrays[i])
            for i in track(needed, f"Preparing {measure.id}", total=len(needed), show=self.progress)
        }
        values = np.empty((len(rows), len(columns)))
        symmetric = measure.facts.symmetric and rows == columns
        todo = [(r, c) for r in range(len(rows)) for c in range(len(columns)) if not symmetric or r <= c]
        for r, c in track(todo, f"Scoring {measure.id}", total=len(todo), show=self.progress):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                values[r, c] = float(measure.score(states[rows[r]], states[columns[c]]))
            for warning in caught:
                pair = f"{source.names[rows[r]]} × {source.names[columns[c]]}"
                warnings.warn(_Paired(str(warning.message), pair, warning.category), stacklevel=2)
            if symmetric:
                values[c, r] = values[r, c]
        return values, {"pairs": "all", "route": "pairwise"}, source.n

    def _axes(self, layers: Sequence[Sequence[str]]) -> tuple[list[int], list[int]]:
        """Indices of the layers on the rows and on the columns, among all layers of all subjects."""
        first = len(layers[0])
        everything = list(range(sum(len(names) for names in layers)))
        return (everything[:first], everything[first:]) if self.against else (everything, everything)

    def _qualified(self, layers: Sequence[Sequence[str]]) -> list[str]:
        several = len(self.subjects) > 1
        return [
            f"{subject.name}: {name}" if several else name
            for subject, names in zip(self.subjects, layers, strict=True)
            for name in names
        ]

    def _comparison(
        self,
        measure: ConfiguredMeasure,
        values: Matrix,
        layers: Sequence[Sequence[str]],
        n: int,
        conventions: dict[str, Any],
        messages: Sequence[str],
        source: Any,
    ) -> Comparison:
        names = [name for names in layers for name in names]
        models = [subject.name for subject, names in zip(self.subjects, layers, strict=True) for _ in names]
        rows, columns = self._axes(layers)
        facts = measure.facts
        settled = {key: value if isinstance(value, str) else describe(value) for key, value in measure.options.items()}
        return Comparison(
            values=values,
            row_layers=tuple(names[i] for i in rows),
            column_layers=tuple(names[i] for i in columns),
            row_models=tuple(models[i] for i in rows),
            column_models=tuple(models[i] for i in columns),
            measure=measure.id,
            kind=facts.kind,
            range=facts.range,
            symmetric=facts.symmetric,
            n=n,
            conventions={
                **settled,
                **conventions,
                "reduce": self.reduce if isinstance(self.reduce, str) else str(self.reduce),
                "batch_size": self.batch_size,
                "widths": [int(w) for w in source.widths],
            },
            warnings=tuple(messages),
            versions=_versions(),
            seeds={"bandwidth": self.seed},
            details={"references": list(measure.measure.references), "formula": measure.measure.formula},
        )


class _Paired(RepscopeWarning):
    """A warning about one pair of layers, on its way to a summary of all of them."""

    def __init__(self, text: str, pair: str, category: type[Warning]) -> None:
        super().__init__(text)
        self.text, self.pair, self.category = text, pair, category


def _summarise(caught: Iterable[warnings.WarningMessage]) -> list[tuple[str, type[Warning]]]:
    """Each kind of warning once: the first in full, with the number of pairs it holds for."""
    pairs: dict[type[Warning], list[_Paired]] = {}
    messages: dict[tuple[str, type[Warning]], None] = {}
    for warning in caught:
        if isinstance(warning.message, _Paired):
            pairs.setdefault(warning.message.category, []).append(warning.message)
        else:
            messages[str(warning.message), warning.category] = None
    for category, found in pairs.items():
        more = f" The same holds for {len(found) - 1} more pairs." if len(found) > 1 else ""
        messages[f"{found[0].pair}: {found[0].text}{more}", category] = None
    return list(messages)


def _is_gram(measure: ConfiguredMeasure) -> bool:
    return measure.id in ("cka", "hsic")


def _cka(hsic: Matrix, names: Sequence[str]) -> Matrix:
    """HSIC of all pairs normalised by its diagonal; NaN with a warning for layers without any variation."""
    self_products = np.diag(hsic).copy()
    nothing = ~(self_products > 0)
    if nothing.any():
        constant = ", ".join(repr(names[i]) for i in np.flatnonzero(nothing).tolist())
        warnings.warn(
            f"cka: all examples are equal, or equally far apart, in layer {constant} (0/0). Its scores are NaN.",
            DegenerateInputWarning,
            stacklevel=2,
        )
    self_products[nothing] = math.nan
    roots = np.sqrt(self_products)
    values: Matrix = hsic / np.outer(roots, roots)
    return values


def _check_count(n: int, minimum: int) -> None:
    if n < minimum:
        raise InputError(f"compare: data must hold at least {minimum} examples for this estimator, got {n}.")


def _warn_ordered(names: Sequence[str]) -> None:
    shown = ", ".join(repr(name) for name in names[:3]) + (" …" if len(names) > 3 else "")
    warnings.warn(
        f"compare: the examples come in an order (batch means of {len(names)} layers drift more than chance: {shown}), "
        "so the minibatch estimate is wrong. Shuffle the data, or use pairs='all'.",
        DataOrderWarning,
        stacklevel=2,
    )


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("repscope", "numpy", "torch", "array-api-compat"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
