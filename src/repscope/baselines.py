"""What a score between two networks is to be read against: other seeds above, no training and the inputs below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from repscope._beside import beside_json
from repscope._pairs import Floats, same_layers
from repscope.comparison import Comparison
from repscope.errors import InputError
from repscope.measures._messages import check_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNTRAINED, INPUTS = "untrained", "inputs"

_ROUNDING = 1e-6
"""Share of a floor by which a score may exceed it through single precision alone."""


@dataclass(frozen=True, eq=False)
class Baselines:
    """Each layer's score with the same layer of another network, between a ceiling and floors.

    Attributes:
        comparison: All layers of ``a`` (rows) against all of ``b`` (columns).
        layers: Layers of ``a`` that ``b`` has too, in execution order (L,).
        score: Of each with the same layer of ``b`` (L,).
        ceiling: Mean score of each with the same layer of the same architecture from another seed (L,), over all pairs
            of ``a`` and ``seeds``; None without seeds.
        ceiling_sd: Standard deviation over these pairs (L,), NaN for one pair; None without seeds. The pairs share
            networks: for a claim about the architecture, see :func:`repscope.agreement`.
        pairs: How many there are.
        floors: ``"untrained"`` and ``"inputs"``, as far as there are any, to the score of each layer with what has
            learned nothing (L,).
        chance: Mean score of unrelated examples (L,); None where no closed form is known.
        everything: All networks with all; for measures other than CKA and HSIC, only layers of one name or place.
    """

    comparison: Comparison
    layers: tuple[str, ...]
    score: Floats
    ceiling: Floats | None
    ceiling_sd: Floats | None
    pairs: int
    floors: Mapping[str, Floats]
    chance: Floats | None
    everything: Comparison

    def normalised(self, floor: str = UNTRAINED) -> Floats:
        """Scores on a scale where 0 is a floor and 1 the ceiling: (s − floor)/(ceiling − floor) (L,).

        Raises:
            InputError: There is no ceiling, or no such floor.
        """
        if self.ceiling is None or floor not in self.floors:
            got = "no seeds" if self.ceiling is None else f"the floors {', '.join(self.floors) or 'none'}, not {floor}"
            raise InputError(
                f"Baselines.normalised: the baselines must have a ceiling and the floor asked for, got {got}. Pass "
                "seeds= and untrained= to baselines, or name another floor."
            )
        low = self.floors[floor]
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Floats = (self.score - low) / (self.ceiling - low)
        return found

    def plot(self, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw score, ceiling, floors and chance over depth; options as for :func:`repscope.plot.same_layer`."""
        from repscope.plot import same_layer

        ceiling = None if self.ceiling is None or self.ceiling_sd is None else (self.ceiling, self.ceiling_sd)
        options = {"label": self.comparison.title, **options}
        return same_layer(self.comparison, ax, ceiling=ceiling, floors=self.floors, **options)

    def to_json(self) -> str:
        """Layers, scores, ceiling, floors and chance as strict JSON: NaN becomes null."""
        found = {
            "layers": list(self.layers),
            "score": self.score.tolist(),
            "ceiling": None if self.ceiling is None else self.ceiling.tolist(),
            "ceiling_sd": None if self.ceiling_sd is None else self.ceiling_sd.tolist(),
            "pairs": self.pairs,
            "floors": {name: values.tolist() for name, values in self.floors.items()},
            "chance": None if self.chance is None else self.chance.tolist(),
        }
        return beside_json(self.comparison, found)

    def __str__(self) -> str:
        columns: dict[str, Sequence[str]] = {"score": _numbers(self.score)}
        if self.ceiling is not None and self.ceiling_sd is not None:
            columns["ceiling"] = _numbers(self.ceiling)
            if self.pairs > 1:
                columns["(sd)"] = _numbers(self.ceiling_sd)
        columns |= {name: _numbers(values) for name, values in self.floors.items()}
        if self.chance is not None:
            columns["chance"] = _numbers(self.chance)
        left = max(map(len, self.layers))
        widths = {head: max(len(head), *map(len, cells)) for head, cells in columns.items()}
        lines = [self._heading(), " " * left + "".join(f"  {head:>{widths[head]}}" for head in columns)]
        for i, name in enumerate(self.layers):
            lines.append(f"{name:<{left}}" + "".join(f"  {cells[i]:>{widths[h]}}" for h, cells in columns.items()))
        return "\n".join([*lines, *self._readings()])

    def _heading(self) -> str:
        networks = "" if not self.pairs else f"; ceiling: {self.pairs} pair{'s' * (self.pairs > 1)} of seeds"
        return f"{self.comparison.title}, {self.comparison.n} examples{networks}"

    def _readings(self) -> list[str]:
        sign = 1.0 if self.comparison.kind == "similarity" else -1.0
        found = []
        if self.floors:
            floor = np.max([sign * values for values in self.floors.values()], axis=0)
            found.append(("No more alike than a floor", sign * self.score <= floor + _ROUNDING * np.abs(floor)))
        if self.ceiling is not None and self.ceiling_sd is not None:
            reached = sign * self.ceiling - np.nan_to_num(self.ceiling_sd)
            found.append(("As alike as other seeds are", sign * self.score >= reached))
        return [f"{text}: {', '.join(np.array(self.layers)[which])}." for text, which in found if which.any()]


def baselines(
    a: Any,
    b: Any,
    *,
    data: Any = None,
    seeds: Sequence[Any] | Mapping[str, Any] = (),
    untrained: Any = "auto",
    inputs: Any = "auto",
    seed: int = 0,
    layers: Any = None,
    measure: Any = "cka",
    **settings: Any,
) -> Baselines:
    """Compare two networks layer by layer, with what their scores are to be read against.

    Each layer of ``a`` is scored with the same layer of ``b``, and with what may take its place: the same
    architecture as ``a`` trained from other seeds, of which nothing but chance is different (the ceiling, which
    networks of another kind may still exceed, as wider ones do); an untrained ``b``, and the inputs themselves, which
    have learned nothing (the floors). One pass over the data feeds all.

    Layers are the same where they bear one name; where no names agree, where they stand at one place.

    Args:
        a: A torch module, a mapping of layer names to arrays (n, p), or a path, as for :func:`repscope.compare`.
        b: The second, in the same form.
        data: What models are run on.
        seeds: Networks like ``a`` from other seeds, in a list or by name.
        untrained: An untrained network like ``b``, or a list of several, whose scores are averaged; ``"auto"``: of a
            module a copy with weights drawn anew by the ``reset_parameters`` of its modules, of arrays none; None:
            none.
        inputs: ``"auto"``: what the models are run on, each item as one row; of arrays none; an array (n, …): that,
            beside arrays; False: none.
        seed: For the untrained copy, and as for :func:`repscope.compare`.
        layers: As for :func:`repscope.compare`, a pair for ``a`` and ``b`` included; of ``seeds`` as of ``a``, of
            ``untrained`` as of ``b``.
        measure: One measure, whatever its kind.
        **settings: Further arguments of :func:`repscope.compare`.

    Returns:
        A :class:`Baselines`; ``print`` shows it, ``plot()`` draws it.

    Raises:
        InputError: As for :func:`repscope.compare`; a module has parameters that cannot be drawn anew; the inputs are
            no floating-point numbers; networks have no layers in common.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((200, 8))
        >>> nets = [{"hidden": np.tanh(x @ rng.standard_normal((8, 30)))} for _ in range(3)]
        >>> found = baselines(nets[0], nets[1], seeds=[nets[2]], inputs=x)
        >>> bool(found.floors["inputs"][0] > 0.5), found.pairs
        (True, 1)
    """
    from repscope.compare import _settle
    from repscope.measures.measure import ConfiguredMeasure
    from repscope.subjects import two_names

    if not isinstance(measure, str | ConfiguredMeasure):
        raise InputError(f"baselines: measure must be one measure, got {measure!r}. Call it once for each.")
    if settings.get("checkpoint") is not None:
        raise InputError("baselines: checkpoint must be left out, got a file. Compare with it, then take baselines.")
    first, second = two_names(a, b)
    of_a, of_b = layers if isinstance(layers, tuple) and len(layers) == 2 else (layers, layers)
    if isinstance(seeds, Mapping):
        check_names("baselines", "seeds", seeds)
    named = {str(k): v for k, v in seeds.items()} if isinstance(seeds, Mapping) else _numbered("seed", list(seeds))
    below = _numbered(UNTRAINED, _untrained(b, untrained, seed))
    raw = _inputs(a, inputs, settings.get("reduce", "auto"))
    groups = [({first: a}, of_a), ({second: b}, of_b), (named, of_a), (below, of_b), (raw, None)]
    networks = {name: _wrapped(network) for group, _ in groups for name, network in group.items()}
    if len(networks) < sum(len(group) for group, _ in groups):
        raise InputError(f"baselines: seeds must have names of their own, got {', '.join(named)}. Rename them.")
    chosen = {name: picked for group, picked in groups for name in group}
    job, measures, data, forward = _settle(
        networks, None, data=data, measure=measure, layers=chosen, seed=seed, **settings
    )
    job.corresponding = True
    (everything,) = job.run(measures, data, forward)
    return _read(everything, first, second, list(named), list(below), list(raw))


def _read(
    everything: Comparison, first: str, second: str, seeds: Sequence[str], below: Sequence[str], raw: Sequence[str]
) -> Baselines:
    comparison = everything.between(first, second)
    scores = same_layers(comparison, [(first, second)], "baselines")
    layers = scores.layers

    def of(pairs: Sequence[tuple[str, str]]) -> Floats:
        """Scores of the layers (pairs, L), by their names in a."""
        found = same_layers(everything, list(pairs), "baselines")
        if missing := [name for name in layers if name not in found.layers]:
            raise InputError(
                f"baselines: networks must have the layers of {first!r}, got none like {missing[0]!r} in "
                f"{pairs[0][1]!r}. Choose layers that all have with layers=."
            )
        return found.values[:, [found.layers.index(name) for name in layers]]

    alike = [first, *seeds]
    pairs = list(combinations(alike, 2) if everything.symmetric else permutations(alike, 2))
    ceilings = of(pairs) if seeds else None
    floors: dict[str, Floats] = {}
    if below:
        floors[UNTRAINED] = of([(first, name) for name in below]).mean(axis=0)
    for name in raw:
        with_inputs = everything.between(first, name)
        floors[name] = with_inputs.values[[with_inputs.row_layers.index(layer) for layer in layers], 0]
    null = scores.statistics.get("null_mean")
    several = ceilings is not None and len(ceilings) > 1
    return Baselines(
        comparison=comparison,
        layers=layers,
        score=scores.values[0],
        ceiling=None if ceilings is None else ceilings.mean(axis=0),
        ceiling_sd=None
        if ceilings is None
        else (ceilings.std(axis=0, ddof=1) if several else np.full(len(layers), np.nan)),
        pairs=0 if ceilings is None else len(ceilings),
        floors=floors,
        chance=None if null is None else null[0],
        everything=everything,
    )


def _untrained(b: Any, untrained: Any, seed: int) -> list[Any]:
    from repscope.subjects import is_module

    if untrained is None:
        return []
    if isinstance(untrained, str) and untrained == "auto":
        if not is_module(b):
            return []
        from repscope.capture import reinitialised

        return [reinitialised(b, seed)]
    return list(untrained) if isinstance(untrained, list | tuple) else [untrained]


def _inputs(a: Any, inputs: Any, reduce: Any) -> dict[str, Any]:
    """The inputs as a network of one layer, by name."""
    from repscope.subjects import is_array, is_module

    if inputs is False or inputs is None:
        return {}
    if is_array(inputs):
        if is_module(a):
            raise InputError("baselines: inputs must be left out for models, got an array. They are taken from data=.")
        return {INPUTS: {INPUTS: inputs.reshape(inputs.shape[0], -1)}}
    if inputs != "auto":
        raise InputError(f"baselines: inputs must be 'auto', False or an array (n, ...), got {inputs!r}.")
    if not is_module(a):
        return {}
    if isinstance(reduce, Mapping):
        raise InputError(
            "baselines: inputs must be False where reduce is a mapping of layer names, got 'auto': the inputs are no "
            "layer of these."
        )
    from repscope.capture import Inputs

    return {INPUTS: Inputs(flat=reduce != "positions")}


def _wrapped(network: Any) -> Any:
    """An array alone as a network of one layer."""
    from repscope.subjects import is_array

    return {"layer": network} if is_array(network) else network


def _numbered(name: str, networks: Sequence[Any]) -> dict[str, Any]:
    """Names for networks; one alone bears no number unless it is a seed."""
    if len(networks) == 1 and name == UNTRAINED:
        return {name: networks[0]}
    return {f"{name} {i}": network for i, network in enumerate(networks, start=1)}


def _numbers(values: npt.NDArray[np.float64]) -> list[str]:
    return [f"{value:.3f}" if abs(value) < 1e3 or not np.isfinite(value) else f"{value:.4g}" for value in values]
