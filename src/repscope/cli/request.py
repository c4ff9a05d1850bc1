"""One ``repscope compare``: from the words of the command line to comparisons under the names the user gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from repscope import loading
from repscope.cli.networks import Asked, Loading
from repscope.cli.renaming import with_names
from repscope.compare import compare, compare_part, plan_comparison
from repscope.comparison import Comparison
from repscope.engine.plan import Plan
from repscope.significance import permutation_test


@dataclass(frozen=True)
class Request:
    """What is compared, in the user's words.

    Attributes:
        networks: A and B, or A alone, which is then compared within itself.
        how: How they and the data are loaded.
        layers: Names and globs of the layers of A and of B.
    """

    networks: tuple[Asked, ...]
    how: Loading
    layers: tuple[list[str] | None, list[str] | None] = (None, None)

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
        of_a, of_b = self.layers
        with self.how.loaded(self.networks) as found:
            named = dict(zip(("a", "b"), found.networks, strict=False))
            layers = (of_a, of_b) if of_b is not None else of_a
            names = [] if loading.is_stored(self.networks[0].spec) else found.names  # files are named by compare
            yield {**named, "data": found.data, "layers": layers, "seed": self.how.seed}, names, found.renamed
