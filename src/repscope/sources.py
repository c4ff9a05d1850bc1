"""Activations of models as a source for the engine: every model sees the same batch, every pass the same data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import cached_property
from operator import length_hint
from typing import TYPE_CHECKING, Any

from repscope._allocator import WORTH_GIVING_BACK, give_back
from repscope._progress import track
from repscope._rows import Rows
from repscope.engine.data_log import DataLog
from repscope.engine.products import native
from repscope.engine.stream import ArraySource, Source, Visitor, check_finite
from repscope.errors import CaptureError, CaptureWarning, InputError
from repscope.measures._messages import warn
from repscope.subjects import Subject

if TYPE_CHECKING:
    from repscope.capture import Batches, Capture, Prepared


class ModelSource:
    """The layers of several models on one data set, streamed batch by batch.

    Attributes:
        names: Layer names of all models, for messages (``model: layer`` where there are several models).
        layers: Layer names of each model, in execution order.
        widths: Features of each layer.
        dtypes: Types of the activations, in order of appearance.
        itemsize: Bytes of a number as the engine works on it.
        device: Where the activations are compared: where those of the first layer are.
        first_items: Items in the first batch; examples, where it is an object that does not say how many it holds.
        peeks_at_first_batch: What :meth:`peek` shows is the first batch of the stream.
    """

    peeks_at_first_batch = True

    def __init__(
        self,
        subjects: Sequence[Subject],
        data: Batches,
        *,
        reduce: Any = "auto",
        forward: Callable[..., Any] | None = None,
        progress: bool | None = None,
    ) -> None:
        from repscope.capture import Capture, check_one_number_of_tokens

        self.data, self.progress, self._forward = data, progress, forward
        self.captures: list[Capture] = [
            Capture(subject.model, subject.layers, reduce=reduce, forward=forward, name=subject.name)
            for subject in subjects
        ]
        self.log = DataLog()
        self._pending: Iterator[Any] | None = None
        self._first = self._first_batch()
        self._warned = False  # of words that are left out
        infos = [capture.discover(self._first) for capture in self.captures]
        self._prepared(self._first)  # models that cannot be aligned are refused before the work begins
        check_one_number_of_tokens(
            {f"{capture.name}: {name}": n for capture in self.captures for name, n in capture.sampled.items()}
        )
        self.layers = [capture.names for capture in self.captures]
        several = len(subjects) > 1
        self.names = [
            f"{subject.name}: {name}" if several else name
            for subject, names in zip(subjects, self.layers, strict=True)
            for name in names
        ]
        self.widths = [info.features for layer_infos in infos for info in layer_infos]
        self.examples_per_item = [info.examples_per_item for layer_infos in infos for info in layer_infos]
        self.dtypes = tuple(dict.fromkeys(info.dtype for layer_infos in infos for info in layer_infos))
        self.itemsize = 8 if "float64" in self.dtypes else 4
        self.device = infos[0][0].device
        items = _items(self._first)
        if items is None:  # an object that does not say how many items it holds: examples are items
            items, self.examples_per_item = self._run(self._first, _Blind()), [1.0] * len(self.widths)
        self.first_items = items

    @cached_property
    def forward_seconds(self) -> float:
        """Time that the models take for the first batch, when they are warm."""
        start = time.perf_counter()
        self.peek(_Blind())
        return time.perf_counter() - start

    @property
    def identity(self) -> str:
        """A hash of the models, of how they are called, of the first batch and of the number of batches."""
        from repscope.capture import call_fingerprint, fingerprint, model_fingerprint

        models = [model_fingerprint(capture.model) for capture in self.captures]
        return fingerprint([self._first, *models, call_fingerprint(self._forward), str(length_hint(self.data))])

    @property
    def one_pass(self) -> bool:
        """Whether the data can be gone through only once."""
        return self.data.one_pass

    @property
    def batches_expected(self) -> int | None:
        """Number of batches, where the data tell it."""
        return len(self.log.rows) if self.log.complete else length_hint(self.data) or None

    @property
    def rows_expected(self) -> int | None:
        """Number of examples, or an upper estimate from the first batch; None where the data do not tell."""
        if self.log.complete:
            return sum(self.log.rows)
        batches = self.batches_expected
        return None if batches is None else round(batches * self.examples_per_batch)

    @property
    def rows_told(self) -> int | None:
        """Number of examples as the data tell it; None where it depends on each item, as with tokens."""
        return self.rows_expected if all(ratio == 1 for ratio in self.examples_per_item) else None

    @property
    def examples_per_batch(self) -> float:
        """Examples in a batch of the usual size."""
        return self.first_items * max(self.examples_per_item)

    def peek(self, visitor: Visitor) -> None:
        """Show the batch that the data began with when they were first looked at."""
        with ExitStack() as stack:
            for capture in self.captures:
                stack.enter_context(capture)
            visitor.end(slice(0, self._run(self._first, visitor)))

    def stream(self, visitor: Visitor, *, start: int = 0, stop: int | None = None, step: int = 1) -> None:
        """Run the models on the batches start, start + step, … below stop; all models on one batch before the next."""
        from repscope.capture import fingerprint

        position = 0
        with ExitStack() as stack:
            for capture in self.captures:
                stack.enter_context(capture)
            batches = track(self._batches(), "Forward passes", total=self.batches_expected, show=self.progress)
            stack.enter_context(closing(batches))  # the bar goes also where a batch raises
            number = -1
            for number, batch in enumerate(batches):
                if stop is not None and number >= stop:
                    return
                mark = fingerprint(batch)
                self._check_same_data(number, mark)
                chosen = number >= start and (number - start) % step == 0
                rows = self._run(batch, visitor) if chosen else self._count(number, batch)
                if number == len(self.log.rows):
                    self.log.add(mark, rows)
                if chosen:
                    visitor.end(slice(position, position + rows))
                    if self.device == "cpu" and self.itemsize * rows * sum(self.widths) >= WORTH_GIVING_BACK:
                        give_back()
                position += rows
            self._check_as_many(number + 1)
        self.log.complete = True

    def check_recalled(self) -> None:
        """Go through the data without the models, to see that they are those of the checkpoint.

        Raises:
            InputError: They are others.
        """
        from repscope.capture import fingerprint

        number = -1
        for number, batch in enumerate(self._batches()):
            self._check_same_data(number, fingerprint(batch))
        self._check_as_many(number + 1)

    def _count(self, number: int, batch: Any) -> int:
        """Rows that a batch which is passed over would give."""
        if number < len(self.log.rows):
            return self.log.rows[number]
        items = _items(batch) if all(ratio == 1 for ratio in self.examples_per_item) else None
        return self._run(batch, _Blind()) if items is None else items

    def _run(self, batch: Any, visitor: Visitor) -> int:
        seen: dict[str, int] = {}
        offset = 0
        for capture, prepared in zip(self.captures, self._prepared(batch), strict=True):
            index = {name: offset + i for i, name in enumerate(capture.names)}

            def consume(name: str, x: Any, index: dict[str, int] = index) -> None:
                seen[self.names[index[name]]] = int(x.shape[0])
                visitor.layer(index[name], x.to(self.device))  # of models or layers elsewhere a copy

            capture.run(prepared, consume)
            offset += len(index)
        if len(set(seen.values())) > 1:
            (one, n), (other, m) = next((a, b) for a in seen.items() for b in seen.items() if a[1] != b[1])
            raise CaptureError(
                f"compare: all layers must give the same number of examples, got {n} from {one} and {m} from {other} "
                "in one batch. Choose layers of one kind, or one reduction for all, such as reduce='mean'."
            )
        return next(iter(seen.values()))

    def _prepared(self, batch: Any) -> list[Prepared]:
        """The batch for every model, with the same examples for all."""
        from repscope.capture import aligned

        prepared = [capture.prepare(batch) for capture in self.captures]
        if len(prepared) == 1:
            return prepared
        names, levels = ([getattr(c, key) for c in self.captures] for key in ("name", "levels"))
        prepared, left_out = aligned(prepared, levels, names)
        if left_out and not self._warned:
            self._warned = True
            warn(
                "compare: every word or character must have a token in each model to be an example; those that one of "
                "the models does not see, of which this batch of text holds some, are left out for all. Cut "
                "sentences and unknown signs are the usual reasons.",
                CaptureWarning,
            )
        return prepared

    def _first_batch(self) -> Any:
        """The first batch, without losing it where the data can be gone through only once."""
        iterator = iter(self.data)
        first = self.data.hold(next(iterator))
        self._pending = _chain(first, iterator) if self.one_pass else None
        return first

    def _batches(self) -> Iterator[Any]:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            return pending
        return iter(self.data)

    def _check_as_many(self, count: int) -> None:
        known = len(self.log.rows)
        if count >= known:
            return
        if self.log.recalled:
            raise InputError(
                f"compare: data must be those of the checkpoint, got {count} batches, of which it has seen {known}. "
                f"{_ANEW}"
            )
        raise InputError(
            f"compare: data must hold as many batches on every pass, got {count} after {known}. "
            "Give all passes the same data, or raise memory= so that one is enough."
        )

    def _check_same_data(self, number: int, mark: str) -> None:
        if number < len(self.log.marks):
            if self.log.marks[number] == mark:
                return
        elif not self.log.complete:
            return
        if self.log.recalled:
            raise InputError(
                f"compare: data must be those of the checkpoint, in the same order, got another batch {number}. {_ANEW}"
            )
        raise InputError(
            f"compare: data must come in the same order on every pass, got another batch {number} than on the first "
            "one. Turn shuffling and random augmentation off, raise memory= so that one pass is enough, or use "
            "pairs='batch'."
        )


_ANEW = "Remove the file to start anew, or name another."


def _items(batch: Any) -> int | None:
    """The number of items in a batch; None for an object that doesn't say."""
    from repscope.capture import batch_items

    try:
        return batch_items(batch)
    except InputError:
        return None


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


class _Blind:
    """Looks at nothing; for counting examples."""

    def layer(self, index: int, x: Any) -> None:
        pass

    def end(self, rows: slice) -> None:
        pass


class Keep:
    """Keeps all activations of a stream, as long as they fit.

    Args:
        source: The stream.
        limit: Bytes that they may take; all are dropped where they take more.
        needed_by: A measure that cannot do without, or None.

    Raises:
        InputError: They take more and are needed.
    """

    def __init__(self, source: Source, limit: float, needed_by: str | None = None) -> None:
        self.names, self.limit, self.needed_by = source.names, limit, needed_by
        fitting = int(limit // (4 * sum(source.widths))) + 1  # more are dropped
        self.kept = [Rows(min(source.rows_expected or 0, fitting)) for _ in source.widths]
        self.size = self.batch = 0

    def layer(self, index: int, x: Any) -> None:
        """Copy it."""
        x = native(x)
        check_finite(x, self.names[index], self.batch)
        self.size += int(x.shape[0] * x.shape[1] * x.dtype.itemsize)
        if self.size <= self.limit:
            self.kept[index].append(x)
            return
        if self.needed_by is not None:
            raise InputError(
                f"compare: {self.needed_by} needs the representations of all examples in memory, and they do not fit "
                f"memory={self.limit / 2**30:.3g} GiB. Choose fewer layers or examples, or raise memory=."
            )
        self.kept = []

    def end(self, rows: slice) -> None:
        """Count."""
        self.batch += 1

    def source(self) -> ArraySource | None:
        """The activations, given away; None where they did not fit."""
        if self.size > self.limit:
            return None
        return ArraySource([rows.take() for rows in self.kept], self.names)


def free_memory(device: str) -> float | None:
    """Bytes that can still be taken on a GPU; None for other devices."""
    import torch

    if not device.startswith("cuda"):
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return float(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
