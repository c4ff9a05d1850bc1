"""One comparison, from settled arguments to a :class:`Comparison`: sources, plan, work, labels."""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any

import numpy as np

from repscope._progress import track
from repscope.assembly import PairWarning, assemble, check_count, with_warnings
from repscope.comparison import Comparison
from repscope.engine import distributed
from repscope.engine.accumulate import Matrix
from repscope.engine.partial import Partial, Shard
from repscope.engine.plan import Plan, plan
from repscope.engine.products import Precision, flops_per_second, native
from repscope.engine.run import BANDWIDTH_EXAMPLES, Work, accumulate
from repscope.engine.stream import ArraySource
from repscope.engine.tiles import tileable
from repscope.errors import InputError
from repscope.measures._decomposition import Decomposition, decompose
from repscope.measures.catalog import ConfiguredMeasure, describe
from repscope.measures.kernels import RBF, Laplace, as_kernel, check_estimator
from repscope.partials import PartialFile, read_partial
from repscope.subjects import Subject, check_examples

Forward = Callable[..., Any] | None


@dataclass
class Job:
    """One call of :func:`repscope.compare` after its arguments are settled.

    Attributes:
        subjects: What is compared.
        against: The first subject with the second; otherwise all with all.
        pairs: ``"auto"``, ``"all"`` or ``"batch"``.
        reduce: How an activation becomes (examples, features).
        batch_size: Examples per batch, where the data do not come in batches.
        memory: Budget in bytes.
        seed: For the sample that sets a radial kernel's bandwidth.
        progress: Show a bar; None: where stderr is a terminal.
        checkpoint: File for unfinished sums.
        precision: Of the products of activations.
        shares_decompositions: Several of the measures start from a layer's decomposition.
        decompositions: Those made so far, by layer.
    """

    subjects: list[Subject]
    against: bool
    pairs: str
    reduce: Any
    batch_size: int
    memory: float
    seed: int
    progress: bool | None
    checkpoint: str | os.PathLike[str] | None
    precision: Precision = "auto"
    shares_decompositions: bool = field(default=False, init=False)
    decompositions: dict[int, Decomposition] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.checkpoint is not None and os.path.exists(self.checkpoint):
            # What is free and how fast the machine is may have changed since; the plan must not.
            facts, _ = read_partial(self.checkpoint)
            self.memory = facts["memory"]
            if self.pairs == "auto":
                self.pairs = facts["comparison"]["conventions"]["pairs"]

    # -- the three things one can ask for ---------------------------------------------------------------------

    def run(self, measures: Sequence[ConfiguredMeasure], data: Any, forward: Forward) -> list[Comparison]:
        """Compare, by every measure."""
        if self.checkpoint is not None and (len(measures) != 1 or not _divisible(measures[0])):
            raise InputError(
                "compare: checkpoint must be left out but for one measure of hsic and cka, whose sums can be kept, got "
                f"{', '.join(m.id for m in measures)}."
            )
        opened = self._open(data, forward)
        held = self._kept(measures, opened)
        self.shares_decompositions = sum(m.measure.decomposes for m in measures) > 1
        results = []
        for m in measures:
            source = opened.source if held is None or self._batchwise(m) else held
            results.append(self._score(m, replace(opened, source=source)))
        return results

    def run_part(self, measures: Sequence[ConfiguredMeasure], data: Any, forward: Forward, shard: Shard) -> None:
        """Add up one share of the work and leave it in the checkpoint file."""
        measure, opened = self._one_divisible(measures, data, forward)
        held = self._kept([measure], opened)
        opened = opened if held is None else replace(opened, source=held)
        chosen = self._plan(measure, opened)
        assert self.checkpoint is not None
        self._accumulate(
            measure, opened, chosen, PartialFile(self.checkpoint, self._facts(measure, opened, chosen)), shard
        )

    def plan(self, measures: Sequence[ConfiguredMeasure], data: Any, forward: Forward) -> Plan:
        """What would be done."""
        return self._plan(*self._one_divisible(measures, data, forward))

    def _one_divisible(
        self, measures: Sequence[ConfiguredMeasure], data: Any, forward: Forward
    ) -> tuple[ConfiguredMeasure, _Opened]:
        if len(measures) != 1 or not _divisible(measures[0]):
            raise InputError(
                "compare: measure must be hsic or cka with a kernel of repscope to be planned or divided, got "
                f"{', '.join(m.label for m in measures)}."
            )
        return measures[0], self._open(data, forward)

    # -- sources ----------------------------------------------------------------------------------------------

    def _open(self, data: Any, forward: Forward) -> _Opened:
        if all(subject.arrays is not None for subject in self.subjects):
            if data is not None:
                raise InputError(
                    "compare: data must be left out when layers are given as arrays; they are compared as they are."
                )
            check_examples(self.subjects)
            layers = [tuple(subject.arrays or ()) for subject in self.subjects]
            arrays = [native(x) for subject in self.subjects for x in (subject.arrays or {}).values()]
            return _Opened(ArraySource(arrays, _qualified(self.subjects, layers)), layers)
        if any(subject.arrays is not None for subject in self.subjects):
            raise InputError(
                "compare: models and stored arrays cannot be mixed, because nothing tells whether their examples "
                "match. Capture the model's representations first (repscope.representations), then compare arrays."
            )
        if data is None:
            raise InputError("compare: data must be given to run the models on: a DataLoader, a Dataset or arrays.")
        from repscope.capture import batches
        from repscope.sources import ModelSource

        start = time.perf_counter()
        source = ModelSource(
            self.subjects,
            batches(data, batch_size=self.batch_size),
            reduce=self.reduce,
            forward=forward,
            progress=self.progress,
        )
        return _Opened(source, source.layers, time.perf_counter() - start)

    def _kept(self, measures: Sequence[ConfiguredMeasure], opened: _Opened) -> ArraySource | None:
        """The activations in memory, where they are to be kept between capture and scoring and fit."""
        if isinstance(opened.source, ArraySource) or all(self._batchwise(m) for m in measures):
            return None
        several = len(measures) > 1 or not _is_gram(measures[0])
        if not several and self._plan(measures[0], opened).route != "memory":
            return None
        from repscope.sources import TooLargeError, collect

        try:
            return collect(opened.source, limit=0.8 * self.memory)
        except TooLargeError:
            return None

    def _batchwise(self, measure: ConfiguredMeasure) -> bool:
        return self.pairs == "batch" and _is_gram(measure)

    def _plan(self, measure: ConfiguredMeasure, opened: _Opened) -> Plan:
        source: Any = opened.source
        in_memory = isinstance(source, ArraySource)
        n = source.n if in_memory else source.rows_expected
        if n is None:
            n = source.n if not source.data.one_pass else 0
        batch = self.batch_size if in_memory else max(1, round(source.examples_per_batch))
        forward = None
        if opened.first_batch_seconds is not None and not in_memory and source.batches_expected:
            forward = opened.first_batch_seconds * source.batches_expected
        chosen = plan(
            widths=source.widths,
            n=n,
            batch_size=min(batch, n) if n else batch,
            pairs=self.pairs,  # type: ignore[arg-type]
            linear=as_kernel(measure.options["kernel"]).name == "linear",
            itemsize=8 if in_memory and str(source.arrays[0].dtype).endswith("64") else 4,
            memory=self.memory,
            in_memory=in_memory,
            repeatable=in_memory or not source.data.one_pass,
            forward_seconds=forward,
            flops_per_second=flops_per_second() if forward else None,
        )
        return replace(chosen, precision=self.precision)

    # -- scores -----------------------------------------------------------------------------------------------

    def _score(self, measure: ConfiguredMeasure, opened: _Opened) -> Comparison:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if _divisible(measure) or self._batchwise(measure):
                result = self._from_gram(measure, opened)
            else:
                values, n = self._pairwise(measure, opened)
                facts = self._facts(measure, opened, None)
                result = Comparison(values=values, **{**facts["comparison"], "n": n})
        return with_warnings(result, caught)

    def _from_gram(self, measure: ConfiguredMeasure, opened: _Opened) -> Comparison:
        chosen = self._plan(measure, opened)
        if chosen.route == "batch" and isinstance(opened.source, ArraySource):
            source = ArraySource(opened.source.arrays, opened.source.names, batch_size=self.batch_size)
            opened = replace(opened, source=source)
        facts = self._facts(measure, opened, chosen)
        file = None if self.checkpoint is None else PartialFile(self.checkpoint, facts)
        partial = self._accumulate(measure, opened, chosen, file, distributed.current())
        partials = [partial] if partial.shard.count == 1 else distributed.gather(partial)
        return assemble(facts, partials)

    def _accumulate(
        self, measure: ConfiguredMeasure, opened: _Opened, chosen: Plan, file: PartialFile | None, shard: Shard
    ) -> Partial:
        work = Work(shard)
        if file is not None:
            if shard.count > 1 and distributed.current().count > 1:
                file.path = file.path.with_name(f"{file.path.name}.{shard.index + 1}-of-{shard.count}")
            work = Work(shard, resume=file.resume(shard), checkpoint=file.checkpoint)
        kernel, estimator = (
            as_kernel(measure.options["kernel"]),
            check_estimator(measure.id, measure.options["estimator"]),
        )
        partial = accumulate(opened.source, kernel, estimator, chosen, self.seed, work)
        if file is not None:
            file.save(partial)
        return partial

    def _pairwise(self, measure: ConfiguredMeasure, opened: _Opened) -> tuple[Matrix, int]:
        source = opened.source
        if not isinstance(source, ArraySource):
            raise InputError(
                f"compare: {measure.id} needs the representations of all examples in memory, and they do not fit "
                f"memory={self.memory / 2**30:.3g} GiB. Choose fewer layers or examples, or raise memory=."
            )
        check_count(source.n, measure.facts.minimum_examples)
        rows, columns = self._axes(opened.layers)
        needed = sorted({*rows, *columns})
        states = {
            i: self._prepare(measure, source, i)
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
                warnings.warn(PairWarning(str(warning.message), pair, warning.category), stacklevel=2)
            if symmetric:
                values[c, r] = values[r, c]
        return values, source.n

    def _prepare(self, measure: ConfiguredMeasure, source: ArraySource, layer: int) -> Any:
        if not (measure.measure.decomposes and self.shares_decompositions):
            return measure.prepare(source.arrays[layer])
        if layer not in self.decompositions:
            self.decompositions[layer] = decompose(source.arrays[layer])
        return measure.prepare(source.arrays[layer], decomposition=self.decompositions[layer])

    # -- labels -----------------------------------------------------------------------------------------------

    def _axes(self, layers: Sequence[Sequence[str]]) -> tuple[list[int], list[int]]:
        """Indices of the layers on the rows and on the columns, among all layers of all subjects."""
        first = len(layers[0])
        everything = list(range(sum(len(names) for names in layers)))
        return (everything[:first], everything[first:]) if self.against else (everything, everything)

    def _facts(self, measure: ConfiguredMeasure, opened: _Opened, chosen: Plan | None) -> dict[str, Any]:
        """What is computed: all of the comparison but its values, and what is needed to get those from sums."""
        names = [name for names in opened.layers for name in names]
        models = [subject.name for subject, names in zip(self.subjects, opened.layers, strict=True) for _ in names]
        rows, columns = self._axes(opened.layers)
        declared = measure.facts
        settled = {key: value if isinstance(value, str) else describe(value) for key, value in measure.options.items()}
        conventions: dict[str, Any] = {**settled, "pairs": "all", "route": "pairwise"}
        if chosen is not None:
            conventions |= {
                "pairs": chosen.pairs,
                "route": chosen.route,
                "plan": chosen.reason,
                "passes": chosen.passes,
            }
            conventions |= {"held_batches": chosen.held_batches, "precision": chosen.precision}
            kernel = as_kernel(measure.options["kernel"])
            if isinstance(kernel, RBF | Laplace) and kernel.sigma is None:
                whole = BANDWIDTH_EXAMPLES if chosen.route != "batch" else None
                conventions["bandwidth_examples"] = whole or "each batch"
        comparison = {
            "row_layers": [names[i] for i in rows],
            "column_layers": [names[i] for i in columns],
            "row_models": [models[i] for i in rows],
            "column_models": [models[i] for i in columns],
            "measure": measure.id,
            "kind": declared.kind,
            "range": list(declared.range),
            "symmetric": declared.symmetric,
            "conventions": {
                **conventions,
                "reduce": self.reduce if isinstance(self.reduce, str) else str(self.reduce),
                "batch_size": self.batch_size,
            },
            "versions": _versions(),
            "seeds": {"bandwidth": self.seed},
            "details": {
                "references": list(measure.measure.references),
                "formula": measure.measure.formula,
                "features": {name: int(w) for name, w in zip(opened.source.names, opened.source.widths, strict=True)},
            },
        }
        return {
            "comparison": comparison,
            "names": list(opened.source.names),
            "rows": rows,
            "columns": columns,
            "minimum_examples": declared.minimum_examples,
            "memory": self.memory,
            "identity": opened.identity(),
        }


@dataclass(frozen=True)
class _Opened:
    """The activations to be compared.

    Attributes:
        source: Where they come from.
        layers: Layer names of each subject.
        first_batch_seconds: How long one batch took, for models.
    """

    source: Any
    layers: Sequence[Sequence[str]]
    first_batch_seconds: float | None = None

    def identity(self) -> str:
        """A hash of models and data, so that partial results of other ones are not mixed; empty where unknown."""
        return str(getattr(self.source, "identity", ""))


def _qualified(subjects: Sequence[Subject], layers: Sequence[Sequence[str]]) -> list[str]:
    several = len(subjects) > 1
    return [
        f"{subject.name}: {name}" if several else name
        for subject, names in zip(subjects, layers, strict=True)
        for name in names
    ]


def _is_gram(measure: ConfiguredMeasure) -> bool:
    return measure.id in ("cka", "hsic")


def _divisible(measure: ConfiguredMeasure) -> bool:
    """Whether the measure comes from sums over tiles, which can be divided, kept and merged."""
    return _is_gram(measure) and tileable(as_kernel(measure.options["kernel"]))


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("repscope", "numpy", "torch", "array-api-compat"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
