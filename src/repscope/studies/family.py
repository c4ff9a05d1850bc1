"""The CCA family between networks: decompositions on disk, one pair of layers in memory.

Ten networks of nine layers with up to 16,384 features and 50,000 examples do not fit a memory. Each layer is
decomposed once and written to a folder that is removed at the end; what is finished, a layer or a row of scores, is not
done again.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repscope._progress import track
from repscope.compare import representations
from repscope.engine.products import flops_per_second
from repscope.studies.folder import replaced
from repscope.studies.page import duration

if TYPE_CHECKING:
    from torch import nn

    from repscope.studies.canonical import CanonicalLayer
    from repscope.studies.study import Context

WORTH_SAYING = 60.0
"""Seconds from which on the time to expect is told."""

_DECOMPOSITION, _SCORING = 26.0, 12.0
"""Eigenvectors of p features in double precision, and of a product of two bases in single precision, take as long as so
many times p³ operations of a matrix product in single precision (measured with OpenBLAS and MKL at p = 4,096)."""


def pairs_of_networks(
    context: Context,
    models: Mapping[str, nn.Module],
    data: Any,
    pairs: Sequence[tuple[str, str]],
    *,
    variances: Sequence[float] = (0.99,),
    layers: Mapping[str, Sequence[str]] | None = None,
    capture: Mapping[str, Any] | None = None,
    examples: int | None = None,
    together: bool = False,
) -> dict[tuple[str, str], dict[str, NDArray[np.float64]]]:
    """Every index of the CCA family between the layers of pairs of networks; what is finished is kept in the folder.

    Args:
        context: Of the study; its setting ``cca_precision`` is the type in which bases are held and multiplied.
        models: Name to network.
        data: Images, shape (n, channels, height, width), or batches of sentences.
        pairs: Names of the networks on the rows and on the columns.
        variances: Shares of the variance at which SVCCA cuts.
        layers: For each network the layers; None for all that the paper compares.
        capture: What else :func:`repscope.compare.representations` takes; None flattens maps.
        examples: Number of examples; None: that of the images.
        together: Take all layers of a network in one pass, where they fit memory together.

    Returns:
        For each pair, index to an array (2, row layers, column layers): s(row, column) and s(column, row).
    """
    from repscope.studies.canonical import row_scores
    from repscope.studies.networks import representation_layers

    if layers is None:
        layers = {name: representation_layers(model) for name, model in models.items()}
    capture = {"reduce": "flatten"} if capture is None else capture
    examples = len(data) if examples is None else examples
    bases = _Bases(context, models, data, variances, capture, layers if together else None)
    rows = [(a, b, layer) for a, b in pairs for layer in layers[a]]
    if expected := _expected(models, layers, data, examples, pairs, capture):
        context.say(
            f"CCA family of {len(models)} networks on {examples:,} examples: about {duration(expected)} to expect"
        )
    found: dict[tuple[str, str], list[Any]] = {pair: [] for pair in pairs}
    for a, b, layer in track(rows, "CCA family", total=len(rows), show=context.progress):

        def compute(a: str = a, b: str = b, layer: str = layer) -> dict[str, Any]:
            with context.timed("CCA family"):
                return row_scores(bases[a, layer], bases.all_of(b, layers[b]))

        found[a, b].append(context.folder.kept(f"cca-family-{a}-{b}-{layer}".replace(" ", "-"), compute))
    bases.remove()
    return {
        pair: {index: np.array([row[index] for row in tables]).swapaxes(0, 1) for index in tables[0]}
        for pair, tables in found.items()
    }


def assembled(
    found: Mapping[tuple[str, str], Mapping[str, NDArray[np.float64]]], names: Sequence[str], index: str
) -> NDArray[np.float64]:
    """Scores of all networks with all, as :mod:`repscope.studies.identification` takes them.

    Args:
        found: Of every unordered pair of different networks.
        names: The networks.
        index: One of the indexes.

    Returns:
        Shape (m, m, L, L), NaN between a network and itself.
    """
    layers = next(iter(found.values()))[index].shape[1]
    scores = np.full((len(names), len(names), layers, layers), np.nan)
    for (a, b), tables in found.items():
        i, j = names.index(a), names.index(b)
        forward, backward = tables[index]
        scores[i, j], scores[j, i] = forward, backward.T
    return scores


class _Bases:
    """Decomposed layers by network and layer, each made when it is first needed and kept on disk."""

    def __init__(
        self,
        context: Context,
        models: Mapping[str, nn.Module],
        data: Any,
        variances: Sequence[float],
        capture: Mapping[str, Any],
        together: Mapping[str, Sequence[str]] | None,
    ) -> None:
        import torch

        self._context, self._models, self._data, self._variances = context, models, data, variances
        self._capture, self._together = capture, together
        self._dtype = getattr(torch, context["cca_precision"])
        self._folder = context.folder.path / "bases"

    def __getitem__(self, place: tuple[str, str]) -> CanonicalLayer:
        from repscope.studies.canonical import load, prepare, save

        name, layer = place
        path = self._file(name, layer)
        if not path.exists():
            self._folder.mkdir(exist_ok=True)
            wanted = [layer] if self._together is None else list(self._together[name])
            found = representations(self._models[name], self._data, wanted, **self._capture)
            for other in wanted:
                made = prepare(found.pop(other), variances=self._variances, dtype=self._dtype)
                with replaced(self._file(name, other)) as partial:
                    save(made, partial)
                del made
        return load(path, next(self._models[name].parameters()).device)

    def _file(self, name: str, layer: str) -> Path:
        return self._folder / f"{name}-{layer}.safetensors".replace(" ", "-")

    def all_of(self, name: str, layers: Sequence[str]) -> Iterator[CanonicalLayer]:
        """The layers of a network, one in memory at a time."""
        return (self[name, layer] for layer in layers)

    def remove(self) -> None:
        """Give the disk back."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _expected(
    models: Mapping[str, nn.Module],
    layers: Mapping[str, Sequence[str]],
    data: Any,
    n: int,
    pairs: Sequence[tuple[str, str]],
    capture: Mapping[str, Any],
) -> float | None:
    """Seconds to expect on the CPU, or None where it is not worth saying or nobody knows."""
    if any(next(model.parameters()).device.type != "cpu" for model in models.values()):
        return None
    widths = {}
    for name, model in models.items():
        found = representations(model, data[:2], list(layers[name]), **capture)
        widths[name] = [min(n, x.shape[1]) for x in found.values()]
    # Products in double precision take twice as long as in single.
    operations = sum(8 * n * p**2 + _DECOMPOSITION * p**3 for ps in widths.values() for p in ps)
    for a, b in pairs:
        for p, q in itertools.product(widths[a], widths[b]):
            operations += 2 * n * p * q + 4 * p * q * min(p, q) + _SCORING * min(p, q) ** 3
    seconds = operations / flops_per_second()
    return seconds if seconds > WORTH_SAYING else None
