"""One ``repscope compare``: from the words of the command line to comparisons under the names the user gave."""

from __future__ import annotations

import copy
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from repscope import loading
from repscope.cli.blame import users_code
from repscope.compare import compare, compare_part, plan_comparison
from repscope.comparison import Comparison
from repscope.engine.plan import Plan
from repscope.errors import InputError, RepscopeError, RepscopeWarning
from repscope.significance import permutation_test


@dataclass(frozen=True)
class Request:
    """What is compared, in the user's words; the pairs are (of A, of B).

    Attributes:
        a: A model or a file of stored arrays.
        b: The second, or None to compare within the first.
        data: What models run on.
        weights: Files of trained weights.
        layers: Names and globs of the layers.
        image_size: Pixels a side, where the data are images.
        truncate: Cut sentences that are longer than a language model takes.
        device: Where models run.
        seed: Of whatever the factories of A and of the data draw; that of B takes the next integer.
    """

    a: str
    b: str | None = None
    data: str | None = None
    weights: tuple[str | None, str | None] = (None, None)
    layers: tuple[list[str] | None, list[str] | None] = (None, None)
    image_size: int | None = None
    truncate: bool = False
    device: str | None = None
    seed: int = 0

    def run(self, settings: Mapping[str, Any]) -> list[Comparison]:
        """Load everything and compare it; ``settings`` are further arguments of :func:`repscope.compare`.

        Warnings of repscope come on stderr, each once, when all is done.

        Raises:
            InputError: For words that do not fit together, and whatever goes wrong in the user's own code.
        """
        with self._loaded() as (arguments, names, renamed):
            comparisons = list(compare(**arguments, **{"measure": ["cka"], **settings}).values())
            if names:
                comparisons = [with_names(comparison, names, renamed) for comparison in comparisons]
        return comparisons

    def test(self, settings: Mapping[str, Any], permutations: int) -> list[Comparison]:
        """As :meth:`run`, with the null from permutations and the most similar layers judged as found by a search."""
        options = {key: value for key, value in settings.items() if key != "measure"}
        with self._loaded() as (arguments, names, renamed):
            found = []
            for measure in settings["measure"]:
                test = permutation_test(**arguments, **options, measure=measure, permutations=permutations)
                matches = [] if test.comparison.calibrated is None else test.best_matches()
                details = {**test.comparison.details, "best_matches": [asdict(match) for match in matches]}
                found.append(replace(test.comparison, details=details))
            if names:
                found = [with_names(comparison, names, renamed) for comparison in found]
        return found

    def plan(self, settings: Mapping[str, Any]) -> Plan:
        """Load everything and tell what :meth:`run` would do."""
        with self._loaded() as (arguments, _, _):
            return plan_comparison(**arguments, **settings)

    def run_part(self, settings: Mapping[str, Any], shard: tuple[int, int], path: Path) -> None:
        """Load everything and leave one share of the sums in a file."""
        with self._loaded() as (arguments, _, _):
            compare_part(**arguments, **settings, shard=shard, path=path)

    @contextmanager
    def _loaded(self) -> Iterator[tuple[dict[str, Any], list[str], dict[str, str]]]:
        """The first arguments of a comparison, the user's names of the models, and a place for what is renamed."""
        self._check()
        specs = [spec for spec in (self.a, self.b) if spec is not None]
        names = [] if loading.is_stored(self.a) else loading.model_names(specs, self.weights)
        # What the user's code prints would stand in the midst of the results.
        with warnings_once() as renamed, redirect_stdout(sys.stderr):
            subjects = specs if not names else self._models(specs)
            data = (
                None if self.data is None else loading.load_data(self.data, image_size=self.image_size, seed=self.seed)
            )
            with users_exceptions():
                named = dict(zip(("a", "b"), subjects, strict=False))
                yield {**named, "data": data, "layers": self._layers(), "seed": self.seed}, names, renamed

    def _check(self) -> None:
        if self.b is None and (self.layers[1] is not None or self.weights[1] is not None):
            option = "--layers-b" if self.layers[1] is not None else "--weights-b"
            raise InputError(f"compare: {option} must come with a second model, got A only. Name B after A.")
        stored = [loading.is_stored(spec) for spec in (self.a, self.b) if spec is not None]
        if not all(stored):
            if any(stored):
                raise InputError(
                    "compare: A and B must be two models or two files of stored arrays, got one of each. Nothing tells "
                    "whether their examples match: store the model's representations first (repscope.representations)."
                )
            if self.data is None:
                raise InputError("compare: --data must be given to run models on. For example: --data digits")
            return
        model_only = {
            "--data": self.data,
            "--weights": self.weights[0],
            "--weights-b": self.weights[1],
            "--image-size": self.image_size,
            "--truncate": self.truncate or None,
            "--device": self.device,
        }
        for option, value in model_only.items():
            if value is not None:
                raise InputError(
                    f"compare: {option} must be left out for stored arrays, got {value!r}. Models need it."
                )

    def _layers(self) -> Any:
        of_a, of_b = self.layers
        return (of_a, of_b) if of_b is not None else of_a

    def _models(self, specs: list[str]) -> list[Any]:
        from repscope.weights import load_weights

        loading.require_torch("Comparing models")
        models: list[Any] = []
        for number, (spec, file) in enumerate(zip(specs, self.weights, strict=False)):
            model = loading.load_model(spec, argument="AB"[number], seed=self.seed + number, truncate=self.truncate)
            if any(model is other for other in models):
                model = copy.deepcopy(model)  # one object named twice: weights for the second are not for the first
            if file is not None:
                load_weights(model, file, argument=("--weights", "--weights-b")[number])
            models.append(loading.to_device(model, self.device))
        return models


def with_names(comparison: Comparison, names: list[str], renamed: dict[str, str]) -> Comparison:
    """The comparison with the user's names of the models in place of their classes; notes what became what."""
    old = (comparison.row_models[0], comparison.column_models[0])
    new = (names[0], names[-1])
    renamed.update(zip(old, new, strict=True))
    return replace(
        comparison,
        row_models=(new[0],) * len(comparison.row_models),
        column_models=(new[1],) * len(comparison.column_models),
        warnings=tuple(_in_text(text, renamed) for text in comparison.warnings),
        diagnostics={renamed.get(model, model): layers for model, layers in comparison.diagnostics.items()},
    )


def _in_text(text: str, renamed: Mapping[str, str]) -> str:
    """A message with other names before its layers, as in ``Net a: conv1``."""
    if not renamed:
        return text
    old = "|".join(map(re.escape, sorted(renamed, key=len, reverse=True)))
    return re.sub(rf"(?<!\w)({old})(?=: )", lambda found: renamed[found[1]], text)


@contextmanager
def warnings_once() -> Iterator[dict[str, str]]:
    """Hold repscope's warnings back to the end and print each once, after the renaming that the block fills in."""
    texts: dict[str, None] = {}
    renamed: dict[str, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("always", RepscopeWarning)
        others = warnings.showwarning

        def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, RepscopeWarning):
                texts[str(message)] = None
            else:
                others(message, category, *place, **more)

        warnings.showwarning = show
        try:
            yield renamed
        finally:
            for text in texts:
                print(f"warning: {' '.join(_in_text(text, renamed).split())}", file=sys.stderr)


@contextmanager
def users_exceptions() -> Iterator[None]:
    """Turn an exception from the user's model or data into one line; ours come through as they are."""
    try:
        yield
    except RepscopeError:
        raise
    except Exception as error:
        where = users_code(error)
        if where is None:
            raise
        hint = " Do the data fit the model?" if where == "the forward pass" else ""
        raise InputError(
            f"compare: {where} must run without errors, got {type(error).__name__}: {loading.first_line(error)}."
            f"{hint} Add --verbose for the traceback."
        ) from error
