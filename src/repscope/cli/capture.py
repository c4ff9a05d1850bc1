"""One ``repscope capture``: from the words of the command line to stored activations."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from repscope import loading
from repscope.cli.blame import users_exceptions
from repscope.cli.renaming import warnings_once
from repscope.errors import InputError
from repscope.store import Store


@dataclass(frozen=True)
class CaptureRequest:
    """What is captured, in the user's words.

    Attributes:
        model: A model.
        data: What it runs on.
        output: The directory of the store.
        layers: Names and globs; None for the default set.
        weights: File of trained weights.
        reduce: How an activation becomes (examples, features).
        dtype: Precision on disk; None for that of the model.
        batch_size: Examples in a batch.
        resume: Go on with a store that is there.
        image_size: Pixels a side, where the data are images.
        truncate: Cut sentences that are longer than a language model takes.
        device: Where the model runs.
        seed: Of whatever the model's factory draws, and the data's.
        progress: Show a bar; None: where stderr is a terminal.
    """

    model: str
    data: str
    output: Path
    layers: list[str] | None = None
    weights: str | None = None
    reduce: str = "auto"
    dtype: str | None = None
    batch_size: int = 256
    resume: bool = True
    image_size: int | None = None
    truncate: bool = False
    device: str | None = None
    seed: int = 0
    progress: bool | None = None

    def run(self) -> Store:
        """Load everything and capture.

        Raises:
            InputError: For words that do not fit together, and whatever goes wrong in the user's own code.
            CaptureError: Where the disk is full, for example; the store keeps what is complete.
            KeyboardInterrupt: After a line on stderr that says how to go on.
        """
        with warnings_once(), redirect_stdout(sys.stderr), _said_by_capture():
            if loading.is_stored(self.model):
                raise InputError(f"capture: MODEL must be {loading.FORMS}, got stored arrays: {self.model!r}.")
            loading.require_torch("Capturing activations")
            from repscope.capture import write_store
            from repscope.weights import load_weights

            model = loading.load_model(self.model, argument="MODEL", seed=self.seed, truncate=self.truncate)
            if self.weights is not None:
                load_weights(model, self.weights, argument="--weights")
            model = loading.to_device(model, self.device)
            data = loading.load_data(self.data, image_size=self.image_size, seed=self.seed)
            try:
                with users_exceptions():
                    return write_store(
                        model,
                        data,
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


@contextmanager
def _said_by_capture() -> Iterator[None]:
    """What loads models and data speaks of ``compare``, whose helper it is in the first place."""
    try:
        yield
    except InputError as error:
        raise InputError(re.sub(r"^compare:", "capture:", str(error))) from error.__cause__
