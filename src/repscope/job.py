"""One comparison, from settled arguments to a :class:`Comparison`: sources, plan, work, labels."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from repscope.assembly import (
    assemble,
    describe_null,
    recorded,
    statistics,
    with_diagnostics,
    with_warnings,
)
from repscope.comparison import Comparison
from repscope.engine import distributed
from repscope.engine.accumulate import Matrix
from repscope.engine.batchwise import BatchVisitor
from repscope.engine.exact import MomentVisitor
from repscope.engine.partial import Partial, Shard
from repscope.engine.plan import KEPT_SHARE, Plan
from repscope.engine.products import Precision
from repscope.engine.run import Work, accumulate, entry_itemsize, fit_tiles, visitor_for
from repscope.engine.stream import ArraySource, Together, Visitor
from repscope.engine.threads import one_blas_thread
from repscope.engine.tiles import LayerTiles, shareable
from repscope.errors import InputError
from repscope.facts import describe_reduction, divisible, facts_of, is_gram, kernel_of
from repscope.inference.closed_form import pair_null
from repscope.inference.jackknife import Intervals
from repscope.inference.moments import Null
from repscope.intervals import check_errors_possible, with_errors
from repscope.measures._tiles import tileable
from repscope.measures.kernels import check_estimator
from repscope.measures.measure import ConfiguredMeasure
from repscope.observing import Observation
from repscope.opened import Forward, Opened, open_activations
from repscope.partials import PartialFile, earlier_work, file_of
from repscope.permuting import permuted_values
from repscope.planning import planned
from repscope.prepared import PreparedLayers, correspond
from repscope.sharing import Found, add_up_together
from repscope.subjects import Subject
from repscope.too_few import warn_of_few_examples

OF_ITEMS = "several examples each, which the null takes as independent"
"""In the conventions where the examples are positions or tokens of items."""


@dataclass
class Job:
    """One call of :func:`repscope.compare` after its arguments are settled.

    Attributes:
        subjects: What is compared.
        against: The first subject with the second; otherwise all with all.
        pairs: ``"auto"``, ``"all"`` or ``"batch"``.
        reduce: How an activation becomes (examples, features).
        batch_size: Examples per batch, where the data do not come in batches.
        memory: Budget in bytes; None: half of what is free.
        seed: For the sample that sets a radial kernel's bandwidth.
        progress: Show a bar; None: where stderr is a terminal.
        checkpoint: File for unfinished sums.
        precision: Of the products of activations.
        intervals: Whether standard errors are wanted: ``"auto"`` where they cost no further pass over the data; or
            the number of consecutive examples that are left out together.
        examples: What the examples are called, where the replicates of standard errors are kept; None: they are not.
        diagnostics: Whether the layers are looked at by themselves, too.
        corresponding: Of all models with all, score only layers of one name or at one place, and all those of the first
            model with all those of the second; the others are NaN, where leaving them out saves work.
        seen: What diagnostics need of the activations, as they go by.
        reason: For the choice of ``pairs``, where an earlier run has made it.
    """

    subjects: list[Subject]
    against: bool
    pairs: str
    reduce: Any
    batch_size: int
    memory: float | None
    seed: int
    progress: bool | None
    checkpoint: str | os.PathLike[str] | None
    precision: Precision = "auto"
    intervals: Intervals = "auto"
    examples: str | None = None
    diagnostics: bool = True
    corresponding: bool = False
    seen: Observation = field(init=False, repr=False)
    reason: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        facts = None if self.checkpoint is None else earlier_work(self.checkpoint)
        if facts is not None:
            # What is free and how fast the machine is may have changed since; the plan must not.
            self.memory = facts["memory"]
            if self.pairs == "auto":
                self.pairs, self.reason = (facts["comparison"]["conventions"][key] for key in ("pairs", "plan"))

    # -- the three things one can ask for ---------------------------------------------------------------------

    def run(self, measures: Sequence[ConfiguredMeasure], data: Any, forward: Forward) -> list[Comparison]:
        """Compare, by every measure."""
        if self.checkpoint is not None and (len(measures) != 1 or not divisible(measures[0])):
            raise InputError(
                "compare: checkpoint must be left out but for one measure of hsic and cka, whose sums can be kept, got "
                f"{', '.join(m.id for m in measures)}."
            )
        if self.pairs == "batch" and not any(is_gram(m) for m in measures):
            raise InputError(
                f"compare: pairs must be left out for {', '.join(m.id for m in measures)}, got 'batch', because only "
                "hsic and cka have an estimate from batches."
            )
        without_errors = [m.id for m in measures if not divisible(m)]
        if without_errors and self._demands_errors:
            raise InputError(
                f"compare: {self._asked[0]} must be left out for {', '.join(without_errors)}, got {self._asked[1]}, "
                "because only hsic and cka with a kernel of repscope have standard errors."
            )
        with recorded() as shared:
            opened = self._open(data, forward)
            self.seen = self._observation(opened)
            found = self._first_pass(measures, opened)
        prepared = PreparedLayers(self.progress, sum(m.measure.decomposes for m in measures) > 1)
        results, own = [], []
        for number, m in enumerate(measures):
            with recorded() as caught:
                results.append(self._score(m, opened, found, prepared, measures[number + 1 :]))
            own.append(caught)
            prepared.keep({other.preparation for other in measures[number + 1 :]})
        with recorded() as seen:
            results = with_diagnostics(results, self.seen.of_all(), [self._axes(opened.layers)] * len(results))
        for result, caught in zip(results, own, strict=True):
            with recorded() as few:
                warn_of_few_examples(result)
            caught.extend(few)
        return with_warnings(results, [*shared, *seen], own)

    def permute(
        self, measure: ConfiguredMeasure, data: Any, forward: Forward, permutations: int
    ) -> tuple[Comparison, Matrix, bool]:
        """Compare as the examples are given, and with those of the columns' layers in other orders.

        Returns:
            The comparison, the scores of every order (K, rows, columns), and whether these are all orders there are.
        """
        with recorded() as caught:
            opened = self._open(data, forward)
            self.seen = self._observation(opened)
            if not isinstance(opened.source, ArraySource):
                held = self._kept(opened, [], measure.id)
                assert held is not None
                opened = opened.holding(held)
            if is_gram(measure):
                opened = opened.as_given() if not tileable(kernel_of(measure)) else opened
            axes, prepared = self._axes(opened.layers), PreparedLayers(self.progress)
            everything, complete = permuted_values(measure, opened, axes, prepared, permutations, self.seed)
            known = {**self._facts(measure, opened, None)["comparison"], "n": opened.source.n}
            result = Comparison(values=everything[0], **known)
            (result,) = with_diagnostics([result], self.seen.of_all(), [axes])
        return with_warnings([result], [], [caught])[0], everything[1:], complete

    def run_part(self, measures: Sequence[ConfiguredMeasure], data: Any, forward: Forward, shard: Shard) -> None:
        """Add up one share of the work and leave it in the checkpoint file."""
        measure, opened = self._one_divisible(measures, data, forward)
        self.seen = self._observation(opened, shard)
        opened, chosen = self._ready(measure, opened)
        assert self.checkpoint is not None
        file = PartialFile(file_of(self.checkpoint, shard), self._facts(measure, opened, chosen))
        self._accumulate(measure, opened, chosen, file, shard)

    def _observation(self, opened: Opened, shard: Shard | None = None) -> Observation:
        return Observation(opened.source, self.seed, shard, looks=self.diagnostics)

    def plan(self, measures: Sequence[ConfiguredMeasure], data: Any, forward: Forward) -> Plan:
        """What would be done."""
        return self._plan(*self._one_divisible(measures, data, forward))

    def _one_divisible(
        self, measures: Sequence[ConfiguredMeasure], data: Any, forward: Forward
    ) -> tuple[ConfiguredMeasure, Opened]:
        if len(measures) != 1 or not divisible(measures[0]):
            raise InputError(
                "compare: measure must be hsic or cka with a kernel of repscope to be planned or divided, got "
                f"{', '.join(m.label for m in measures)}."
            )
        return measures[0], self._open(data, forward)

    # -- sources ----------------------------------------------------------------------------------------------

    def _open(self, data: Any, forward: Forward) -> Opened:
        opened = open_activations(
            self.subjects,
            data,
            forward,
            reduce=self.reduce,
            batch_size=self.batch_size,
            memory=self.memory,
            identified=self.checkpoint is not None or distributed.current().count > 1,
            progress=self.progress,
        )
        self.memory = distributed.agree(opened.memory)  # ranks that decided for themselves would wait for each other
        return replace(opened, memory=self.memory)

    def _plan(self, measure: ConfiguredMeasure, opened: Opened) -> Plan:
        errors = self._keeps_for_errors()
        chosen = planned(
            measure, opened, pairs=self.pairs, batch_size=self.batch_size, precision=self.precision, errors=errors
        )
        if self._demands_errors:
            check_errors_possible(self._asked, chosen, opened, kept=errors)
        return chosen if self.reason is None else replace(chosen, reason=self.reason)

    def _ready(self, measure: ConfiguredMeasure, opened: Opened) -> tuple[Opened, Plan]:
        """The source that the plan for one measure works on; the activations are brought into memory where it says."""
        chosen = self._plan(measure, opened)
        if isinstance(opened.source, ArraySource):
            return opened.cut(chosen), chosen
        if chosen.route != "memory":
            return opened, chosen
        held = self._kept(opened, [], None)
        if held is None:
            return opened, self._plan(measure, opened)
        return opened.holding(held).cut(chosen), chosen

    def _kept(
        self, opened: Opened, visitors: Sequence[Visitor], needed_by: str | None, limit: float | None = None
    ) -> ArraySource | None:
        """One pass over the data for all visitors, and the activations in memory; None where they do not fit."""
        from repscope.sources import Keep

        keep = Keep(opened.source, KEPT_SHARE * opened.memory if limit is None else limit, needed_by)
        with one_blas_thread():
            self.seen.watched(opened.source).stream(Together([*visitors, keep]))
        return keep.source()

    @property
    def _asked(self) -> tuple[str, str]:
        """The argument that demands standard errors, and what was given."""
        return ("intervals", repr(self.intervals)) if self.examples is None else ("replicates", "True")

    @property
    def _demands_errors(self) -> bool:
        """Whether a result without standard errors will not do."""
        return self.intervals != "auto" and self.intervals is not False

    def _keeps_for_errors(self) -> bool:
        """Whether activations that sums do without are kept for standard errors, where they fit."""
        return self.intervals is not False and self.checkpoint is None and distributed.current().count == 1

    def _first_pass(self, measures: Sequence[ConfiguredMeasure], opened: Opened) -> Found:
        """All that one pass of the models can give to any of the measures."""
        if isinstance(opened.source, ArraySource) or self.checkpoint is not None or distributed.current().count > 1:
            return Found()
        found = Found()
        visitors: dict[Hashable, BatchVisitor | MomentVisitor] = {}
        needed_by, keep = None, False
        beside_sums: list[float] = []
        for m in measures:
            if not self._by_sums(m):
                needed_by, keep = needed_by or m.id, True
                continue
            chosen, kernel = self._plan(m, opened), kernel_of(m)
            keep |= chosen.route == "memory"
            if chosen.route in ("batch", "moments"):
                key = self._sums(m, chosen)
                if key not in visitors:
                    estimator = check_estimator(m.id, m.options["estimator"])
                    visitors[key] = visitor_for(opened.source, kernel, estimator, chosen)
                found.visitors[m.label] = visitors[key]
                if chosen.kept_bytes:
                    beside_sums.append(chosen.kept_bytes)
            found.plans[m.label] = chosen
        if keep or beside_sums:
            limit = None if keep else min(beside_sums)
            found.held = self._kept(opened, list(visitors.values()), needed_by, limit)
        elif visitors:
            with one_blas_thread():
                self.seen.watched(opened.source).stream(Together(list(visitors.values())))
        return found

    def _by_sums(self, measure: ConfiguredMeasure) -> bool:
        """Whether a measure comes from sums over pairs of examples, rather than from prepared layers."""
        return divisible(measure) or (self.pairs == "batch" and is_gram(measure))

    # -- scores -----------------------------------------------------------------------------------------------

    def _score(
        self,
        measure: ConfiguredMeasure,
        opened: Opened,
        found: Found,
        prepared: PreparedLayers,
        others: Sequence[ConfiguredMeasure],
    ) -> Comparison:
        """Scores by one measure; ``others`` are still to come, and what they share with it is done for them too."""
        if not self._by_sums(measure):
            if not isinstance(opened.source, ArraySource):
                found.held = found.held or self._kept(opened, [], measure.id)
                assert found.held is not None
                opened = opened.holding(found.held)
            values, null = self._pairwise(measure, opened, prepared)
            known = {**self._facts(measure, opened, None)["comparison"], "n": opened.source.n}
            known["conventions"] = {**known["conventions"], "null": describe_null(null)}
            return Comparison(values=values, **known, **({} if null is None else statistics(null, values)))
        visitor = found.visitors.get(measure.label)
        if visitor is not None:
            facts, partial = self._facts(measure, opened, found.plans[measure.label]), visitor.partial(complete=True)
            result = assemble(facts, [partial])
            if not isinstance(visitor, MomentVisitor):
                return result
            kept = found.held is not None
            opened = opened if found.held is None else opened.holding(found.held)
            return self._with_errors(measure, result, opened, visitor.fitting.layers(), [partial], kept=kept)
        if found.held is not None and found.plans[measure.label].route == "memory":
            chosen = found.plans[measure.label]
            opened = opened.holding(found.held).cut(chosen)
        else:
            opened, chosen = self._ready(measure, opened)
        if not tileable(kernel_of(measure)):
            opened = opened.as_given()
        facts = self._facts(measure, opened, chosen)
        key = self._sums(measure, chosen)
        if key not in found.partials:
            self._share([measure, *others], opened, chosen, found)
        if key not in found.partials:
            shard = distributed.current()
            file = None if self.checkpoint is None else PartialFile(file_of(self.checkpoint, shard), facts)
            found.tiles[key] = self._fitted(measure, opened, chosen)
            partial = self._accumulate(measure, opened, chosen, file, shard, found.tiles[key])
            found.partials[key] = [partial] if partial.shard.count == 1 else distributed.gather(partial)
        result = assemble(facts, found.partials[key])
        if chosen.route == "batch":
            return result
        return self._with_errors(measure, result, opened, found.tiles[key], found.partials[key])

    # -- intervals --------------------------------------------------------------------------------------------

    def _fitted(self, measure: ConfiguredMeasure, opened: Opened, chosen: Plan) -> Sequence[LayerTiles] | None:
        """How activations in memory become entries or features, where the sums are followed by a jackknife."""
        if self.intervals is False or chosen.route == "batch" or not isinstance(opened.source, ArraySource):
            return None
        with one_blas_thread():
            return fit_tiles(opened.source, kernel_of(measure), chosen, self.seed)

    def _with_errors(
        self,
        measure: ConfiguredMeasure,
        result: Comparison,
        opened: Opened,
        tiles: Sequence[LayerTiles] | None,
        partials: Sequence[Partial],
        *,
        kept: bool = True,
    ) -> Comparison:
        """The result with standard errors, where they were asked for and the activations were kept for them."""
        at_hand, axes = opened if kept else None, self._axes(opened.layers)
        return with_errors(measure, result, self.intervals, at_hand, tiles, partials, axes, self.examples)

    def _sums(self, measure: ConfiguredMeasure, chosen: Plan) -> Hashable:
        """A key that measures share whose values come from the same sums."""
        estimator = measure.options["estimator"] if chosen.route == "batch" else None
        return chosen.route, kernel_of(measure), estimator

    def _facts(self, measure: ConfiguredMeasure, opened: Opened, chosen: Plan | None) -> dict[str, Any]:
        source = opened.source
        items = opened.items
        if items is None and chosen is not None and chosen.route == "batch":
            items = chosen.batch_size
        conventions = {
            "reduce": describe_reduction(self.reduce) if opened.reduce is None else opened.reduce,
            "dtype": opened.dtypes[0] if len(opened.dtypes) == 1 else list(opened.dtypes),
            **({} if items is None else {"batch_size": items}),
            **({} if opened.rows_per_item == 1.0 else {"items": OF_ITEMS}),
        }
        axes = self._axes(opened.layers)
        facts = facts_of(measure, self.subjects, opened.layers, axes, chosen, conventions, self.seed)
        facts["comparison"]["details"]["features"] = dict(zip(source.names, map(int, source.widths), strict=True))
        return {
            **facts,
            "names": list(source.names),
            "itemsize": 0 if chosen is None else entry_itemsize(kernel_of(measure), chosen, source.itemsize),
            "slice_rows": 0 if chosen is None else chosen.batch_size,
            "memory": opened.memory,
            "identity": opened.identity,
        }

    def _axes(self, layers: Sequence[Sequence[str]]) -> tuple[list[int], list[int]]:
        """Indices of the layers on the rows and on the columns, among all layers of all subjects."""
        first = len(layers[0])
        everything = list(range(sum(len(names) for names in layers)))
        return (everything[:first], everything[first:]) if self.against else (everything, everything)

    def _accumulate(
        self,
        measure: ConfiguredMeasure,
        opened: Opened,
        chosen: Plan,
        file: PartialFile | None,
        shard: Shard,
        tiles: Sequence[LayerTiles] | None = None,
    ) -> Partial:
        work = Work(shard, tiles=tiles)
        if file is not None:
            resume = file.resume(shard)
            if resume is not None:
                self.seen.resume(resume)
            work = replace(
                work, resume=resume, checkpoint=lambda state: file.checkpoint(lambda: self.seen.added_to(state()))
            )
        source = self.seen.watched(opened.source, chosen.held_batches)
        estimator = check_estimator(measure.id, measure.options["estimator"])
        partial = accumulate(source, kernel_of(measure), estimator, chosen, self.seed, work)
        if file is not None:
            partial = self.seen.added_to(partial)
            file.save(partial)
        return partial

    def _share(self, measures: Sequence[ConfiguredMeasure], opened: Opened, chosen: Plan, found: Found) -> None:
        """Add up at once the sums of all measures whose kernels can share the tiles of the first."""
        if self.checkpoint is not None or distributed.current().count > 1 or not shareable(kernel_of(measures[0])):
            return
        wanted = {}
        for m in measures:
            if self._by_sums(m) and shareable(kernel_of(m)):
                its = chosen if m is measures[0] else found.plans.get(m.label) or self._plan(m, opened)
                wanted[self._sums(m, its)] = (kernel_of(m), its)
        add_up_together(wanted, opened, chosen.route, self.seen, self.seed, found)

    def _pairwise(
        self, measure: ConfiguredMeasure, opened: Opened, prepared: PreparedLayers
    ) -> tuple[Matrix, Null | None]:
        if is_gram(measure):
            opened = opened.as_given()  # the kernel is a function of the caller's
        source = opened.source
        rows, columns = self._axes(opened.layers)
        states = prepared.of(measure, source, sorted({*rows, *columns}))
        wanted = correspond(opened.layers) if self.corresponding else None
        values = prepared.scores(measure, source, states, rows, columns, wanted)
        return values, pair_null(measure, states, rows, columns)
