"""One ``repscope capture``: from the words of the command line to stored activations."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from repscope import loading
from repscope.cli.networks import Asked, Loading
from repscope.errors import InputError
from repscope.store import Store


@dataclass(frozen=True)
class CaptureRequest:
    """What is captured, in the user's words.

    Attributes:
        network: A model.
        how: How it and the data are loaded.
        output: The directory of the store.
        layers: Names and globs; None for the default set.
        reduce: How an activation becomes (examples, features).
        dtype: Precision on disk; None for that of the model.
        batch_size: Examples in a batch.
        resume: Go on with a store that is there.
        progress: Show a bar; None: where stderr is a terminal.
    """

    network: Asked
    how: Loading
    output: Path
    layers: list[str] | None = None
    reduce: str = "auto"
    dtype: str | None = None
    batch_size: int = 256
    resume: bool = True
    progress: bool | None = None

    def run(self) -> Store:
        """Load everything and capture.

        Raises:
            InputError: For words that do not fit together, and whatever goes wrong in the user's own code.
            CaptureError: Where the disk is full, for example; the store keeps what is complete.
            KeyboardInterrupt: After a line on stderr that says how to go on.
        """
        if loading.is_stored(self.network.spec):
            raise InputError(f"capture: MODEL must be {loading.FORMS}, got stored arrays: {self.network.spec!r}.")
        loading.require_torch("Capturing activations")
        from repscope.capture import write_store

        with self.how.loaded([self.network]) as found:
            try:
                return write_store(
                    found.networks[0],
                    found.data,
                    self.output,
                    layers=self.layers,
                    reduce=self.reduce,
                    dtype=self.dtype,
                    batch_size=self.batch_size,
                    resume=self.resume,
                    progress=self.progress,
                )
            except KeyboardInterrupt:
                print(f"'{self.output}' keeps what is complete; the same command goes on from there", file=sys.stderr)
                raise
