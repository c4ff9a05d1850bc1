"""Tell how the training goes: bars on a terminal, lines in a log, or nothing."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, suppress
from typing import Any

from repscope.studies.training import Epoch

_ALIKE = 1.25
"""Two forecasts that differ by less than this factor are not worth a correction."""


class Report:
    """Speaks on stderr while it is entered as a context.

    Args:
        heading: What is trained.
        epochs: Epochs that all networks together have still to go through.
        examples: Images or pairs of sentences in an epoch.
        unit: What these are.
        workers: How many train at once.
        show: True: bars on a terminal, else lines; None: bars on a terminal, else nothing; False: nothing.
    """

    def __init__(
        self, heading: str, *, epochs: int, examples: int, workers: int, show: bool | None, unit: str = "images"
    ) -> None:
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self._speaks = terminal if show is None else show
        self._bars = self._speaks and terminal
        self._heading = heading
        self._left = epochs
        self._examples = examples
        self._workers = workers
        self._unit = unit
        self._rates: list[float] = []
        self._expected = 0.0
        self._seconds: list[float] = []
        self._begun: dict[int, float] = {}
        self._stack = ExitStack()
        self._progress: Any = None

    def __enter__(self) -> Report:
        self._say(self._heading)
        if self._bars and self._left:
            with suppress(ImportError):
                self._start_bar()
        return self

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.errors import LiveError
        from rich.progress import Progress

        progress = Progress(console=Console(stderr=True), transient=True)
        with suppress(LiveError):  # the caller shows a display of their own
            self._progress = self._stack.enter_context(progress)
            self._task = progress.add_task("Training", total=self._left)

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def speed(self, rate: float) -> None:
        """A worker has measured its images a second; once all have, side by side, say what to expect."""
        self._rates.append(rate)
        if len(self._rates) == self._workers:
            together = sum(self._rates)
            self._expected = self._left * self._examples / together
            self._say(
                f"measured {together / self._workers:,.0f} {self._unit}/s a network, {together:,.0f} in all: "
                f"about {_duration(self._expected)} to expect"
            )

    def epoch(self, seed: int, epoch: Epoch) -> None:
        """An epoch has ended."""
        self._begun.setdefault(seed, time.perf_counter() - epoch.seconds)
        if not self._seconds and self._expected:
            self._correct(epoch.seconds)
        self._left -= 1
        self._seconds.append(epoch.seconds)
        line = (
            f"seed {seed}  epoch {epoch.number:>{len(str(epoch.of))}}/{epoch.of}  loss {epoch.loss:.4f}  "
            f"train {100 * epoch.accuracy:.1f} %  {epoch.seconds:.1f} s"
        )
        if self._progress is not None:
            self._progress.update(self._task, advance=1, description=line)
        else:
            recent = self._seconds[-2 * self._workers :]
            left = self._left * sum(recent) / len(recent) / self._workers
            self._say(f"{line}  left {_duration(left)}")

    def _correct(self, seconds: float) -> None:
        """Say what a real epoch makes of the time to expect, where that is another."""
        total = self._left * seconds / self._workers
        if not 1 / _ALIKE < total / self._expected < _ALIKE:
            self._say(f"the first epoch took {seconds:.1f} s: about {_duration(total)} to expect in all")

    def done(self, seed: int, accuracy: float) -> None:
        """A network is finished."""
        begun = self._begun.get(seed)
        took = "" if begun is None else f" after {_duration(time.perf_counter() - begun)}"
        self._say(f"seed {seed}  finished{took}: test accuracy {100 * accuracy:.2f} %")

    def _say(self, line: str) -> None:
        if not self._speaks:
            return
        if self._progress is not None:
            self._progress.console.print(line, highlight=False, markup=False)
        else:
            print(line, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
