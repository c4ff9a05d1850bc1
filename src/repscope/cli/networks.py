"""Networks and data from words of the command line."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repscope import loading
from repscope.cli.blame import users_exceptions
from repscope.cli.renaming import warnings_once
from repscope.errors import FileFormatError, InputError


@dataclass(frozen=True)
class Asked:
    """One network in the user's words.

    Attributes:
        argument: What it is called on the command line, for messages.
        spec: A model, or a file of stored arrays.
        weights: A file of trained weights.
        option: Which option names that file, for messages.
    """

    argument: str
    spec: str
    weights: str | None = None
    option: str = "--weights"


@dataclass(frozen=True)
class Loaded:
    """What was loaded.

    Attributes:
        networks: Models, or paths of stored arrays.
        names: The user's names of those that are arguments, not options.
        data: What models run on; None beside stored arrays.
        renamed: A place for what becomes of names, which warnings then tell.
    """

    networks: list[Any]
    names: list[str]
    data: Any
    renamed: dict[str, str]


@dataclass(frozen=True)
class Loading:
    """How networks and data are loaded.

    Attributes:
        command: Its name, for messages.
        data: What models run on.
        image_size: Pixels a side, where the data are images.
        truncate: Cut sentences that are longer than a language model takes.
        device: Where models run.
        seed: Of what the first factory and that of the data draw; each further model takes the next integer.
    """

    command: str
    data: str | None = None
    image_size: int | None = None
    truncate: bool = False
    device: str | None = None
    seed: int = 0

    @contextmanager
    def loaded(self, asked: Sequence[Asked]) -> Iterator[Loaded]:
        """Networks and data; what the user's code prints or raises while they are in use is told as theirs.

        Raises:
            InputError: For words that do not fit together, and whatever goes wrong in the user's own code.
        """
        stored = self._check(asked)
        shown = [one for one in asked if not one.argument.startswith("-")]
        # What the user's code prints would stand in the midst of the results.
        with _under(self.command), warnings_once() as renamed, redirect_stdout(sys.stderr):
            if stored:
                names = loading.model_names([f":{Path(one.spec).stem}" for one in shown], [None] * len(shown))
                found = Loaded([one.spec for one in asked], names, None, renamed)
            else:
                names = loading.model_names([one.spec for one in shown], [one.weights for one in shown])
                models = self._models(asked)
                data = loading.load_data(str(self.data), image_size=self.image_size, seed=self.seed)
                found = Loaded(models, names, data, renamed)
            with users_exceptions():
                yield found

    def _check(self, asked: Sequence[Asked]) -> bool:
        """Whether they are stored arrays; refuses what does not go together."""
        stored = [loading.is_stored(one.spec) for one in asked]
        if any(stored) and not all(stored):
            odd = asked[stored.index(not stored[0])]
            raise InputError(
                f"{self.command}: all networks must be models or all files of stored arrays, got {odd.spec!r} for "
                f"{odd.argument} beside {asked[0].spec!r}. Store the models' activations first: repscope capture."
            )
        given = {"--data": self.data, "--image-size": self.image_size, "--device": self.device}
        given |= {"--truncate": self.truncate or None, **{one.option: one.weights for one in asked if one.weights}}
        if all(stored):
            for option, value in given.items():
                if value is not None:
                    raise InputError(
                        f"{self.command}: {option} must be left out for stored arrays, got {value!r}. Models need it."
                    )
        elif self.data is None:
            raise InputError(f"{self.command}: --data must be given to run models on. For example: --data digits")
        return all(stored)

    def _models(self, asked: Sequence[Asked]) -> list[Any]:
        from repscope.weights import load_weights

        loading.require_torch("Comparing models")
        models: list[Any] = []
        for number, one in enumerate(asked):
            seed = self.seed + number
            model = loading.load_model(one.spec, argument=one.argument, seed=seed, truncate=self.truncate)
            if any(model is other for other in models):
                model = copy.deepcopy(model)  # one object named twice: weights for the second are not for the first
            if one.weights is not None:
                load_weights(model, one.weights, argument=one.option)
            models.append(loading.to_device(model, self.device))
        return models


@contextmanager
def _under(command: str) -> Iterator[None]:
    """Put the name of the command before messages of what it calls."""
    try:
        yield
    except (InputError, FileFormatError) as error:
        if not str(error).startswith("compare: "):
            raise
        raise type(error)(f"{command}: {str(error).removeprefix('compare: ')}") from error
