"""What a job sees of its data and layers while they go by, however the work is divided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from repscope.assembly import OBSERVER, observed
from repscope.engine import distributed
from repscope.engine.partial import Partial, Shard, with_prefix, without_prefix
from repscope.engine.stream import ArraySource
from repscope.engine.threads import one_blas_thread
from repscope.inference.observer import Observer, Watched
from repscope.store_source import StoreSource


class Observation:
    """The observer of one job, for the diagnostics, and the log of its data.

    Args:
        source: Activations; those in memory are looked at here, those of a stream when they come by.
        seed: For what the observer draws.
        shard: This process's share; None: as the group of processes has it.
        looks: Whether diagnostics are wanted.

    Attributes:
        observer: What this process has seen; None where nobody looks.
    """

    def __init__(self, source: Any, seed: int, shard: Shard | None = None, *, looks: bool = True) -> None:
        shard = shard or distributed.current()
        # Of arrays and stores the data are in the identity.
        self._models = None if isinstance(source, ArraySource | StoreSource) else source
        self.observer: Observer | None = None
        if not looks:
            return
        self.observer = Observer(source.names, source.widths, seed=seed, expected=source.rows_told, shard=shard)
        if isinstance(source, ArraySource):
            with one_blas_thread():
                self.observer.of_stream(source)
        else:
            self.observer.fit(source)

    def watched(self, source: Any, held_batches: int = 1) -> Any:
        """The source under the observer's eyes; arrays as they are.

        Args:
            source: Activations.
            held_batches: Batches that shares of the work hold together; the first stream settles it.
        """
        if self.observer is None or isinstance(source, ArraySource):
            return source
        if self.observer.seen < 0:
            self.observer.held_batches = held_batches
        return Watched(source, self.observer)

    def resume(self, partial: Partial) -> None:
        """Go on from what a partial result says was seen; without it nobody looks, because the beginning was missed.

        Raises:
            InputError: It was seen of other data.
        """
        if self._models is not None:
            self._models.log.recall(partial.arrays)
            if partial.complete and self._models.log.recalled:
                self._models.check_recalled()
        seen = without_prefix(OBSERVER, partial.arrays)
        if self.observer is not None:
            self.observer = Observer.from_arrays(seen, self.observer.names, partial.shard) if seen else None

    def added_to(self, partial: Partial) -> Partial:
        """A partial result with what has been seen so far."""
        arrays = dict(partial.arrays)
        if self._models is not None:
            arrays |= self._models.log.arrays()
        if self.observer is not None:
            arrays |= with_prefix(OBSERVER, self.observer.arrays())
        return replace(partial, arrays=arrays)

    def of_all(self) -> Observer | None:
        """What all processes of the group have seen."""
        observer = self.observer
        if observer is None or observer.shard.count == 1:
            return observer
        own = Partial("observer", observer.shard, 0, True, with_prefix(OBSERVER, observer.arrays()))
        return observed(distributed.gather(own), observer.names)
