"""The CCA family between networks: each layer is decomposed once, and as many as fit stay in memory.

Ten networks of nine layers with up to 16,384 features and 50,000 examples do not fit a memory. Each decomposed layer is
written to a folder that is removed at the end, and held, on the GPU where there is one, as long as the room is not
needed for one that comes sooner. What is finished, a layer or a row of scores, is not done again.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from repscope._progress import track
from repscope.compare import representations
from repscope.engine.plan import available_memory
from repscope.engine.products import flops_per_second
from repscope.errors import InputError
from repscope.sources import free_memory
from repscope.studies._shelf import Shelf
from repscope.studies.folder import replaced
from repscope.studies.page import duration

if TYPE_CHECKING:
    from torch import nn

    from repscope.studies.canonical import CanonicalLayer
    from repscope.studies.study import Context

Place: TypeAlias = tuple[str, str]
"""Network and layer."""

OF_TABLES = {"svcca-mean": "svcca-mean-0.99", "svcca-r2": "svcca-r2-0.99"}
"""Indexes of Table 2 and Table F.1 to what :func:`pairs_of_networks` calls them, where the names differ."""

WORTH_SAYING = 60.0
"""Seconds from which on the time to expect is told."""

_DECOMPOSITION, _SCORING = 26.0, 19.0
"""Eigenvectors of p features in double precision, and of p × p entries in single precision: so many times p³
operations of the fastest product take as long (``python -m benchmarks.decompositions``)."""

_MOMENTS, _BASIS, _PRODUCT = 4.0, 5.0, 2.8
"""Products with n · p · q multiplications, of a layer with itself and with others in double precision, and in single
precision: so many times n p q operations of the fastest product, which is symmetric, take as long (measured there)."""


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

    Raises:
        InputError: Neither the disk nor the memory has room for the decomposed layers.
    """
    from repscope.studies.canonical import room_of, row_scores
    from repscope.studies.networks import representation_layers

    if layers is None:
        layers = {name: representation_layers(model) for name, model in models.items()}
    capture = {"reduce": "flatten"} if capture is None else capture
    examples = len(data) if examples is None else examples
    rows = [(a, b, layer) for a, b in pairs for layer in layers[a]]
    widths = _widths(models, layers, data, capture)
    uses = [
        place
        for a, b, layer in rows
        if not context.folder.has(_part(a, b, layer))
        for place in ((a, layer), *((b, other) for other in layers[b]))
    ]
    bases = _Bases(context, models, data, variances, capture, layers if together else None)
    rooms = {(name, layer): room_of(examples, p, bases.dtype) for name in models for layer, p in widths[name].items()}
    bases.expect(uses, rooms)
    if expected := _expected(models, widths, examples, pairs):
        context.say(
            f"CCA family of {len(models)} networks on {examples:,} examples: about {duration(expected)} to expect"
        )
    found: dict[tuple[str, str], list[Any]] = {pair: [] for pair in pairs}
    for a, b, layer in track(rows, "CCA family", total=len(rows), show=context.progress):

        def compute(a: str = a, b: str = b, layer: str = layer) -> dict[str, Any]:
            with context.timed("CCA family"):
                return row_scores(bases.take((a, layer)), (bases.take((b, other)) for other in layers[b]))

        found[a, b].append(context.folder.kept(_part(a, b, layer), compute))
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


def _part(a: str, b: str, layer: str) -> str:
    """Name under which a row of scores is kept."""
    return f"cca-family-{a}-{b}-{layer}".replace(" ", "-")


class _Bases:
    """Decomposed layers by network and layer, each made when it is first needed and kept until the end."""

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

        self.dtype: torch.dtype = getattr(torch, context["cca_precision"])
        self._models, self._data, self._variances = models, data, variances
        self._capture, self._together = capture, together
        self._results = context.folder.path
        self._folder = self._results / "bases"

    def expect(self, uses: Sequence[Place], rooms: Mapping[Place, int]) -> None:
        """Find the room for what will be taken, before anything is done.

        Args:
            uses: Network and layer, in the order in which they will be taken.
            rooms: Bytes of each.
        """
        needed = sum(rooms[place] for place in set(uses) if not self._file(place).exists())
        memory = min(_free(model) for model in self._models.values()) / 2
        disk = shutil.disk_usage(self._results).free
        self._on_disk = needed <= disk
        if not self._on_disk and needed > memory:
            raise InputError(
                f"reproduce: the decomposed layers of {len(self._models)} networks must fit the disk, or half of the "
                f"free memory, got {needed / 2**30:.3g} GiB of them for {disk / 2**30:.3g} GiB in '{self._results}' "
                f"and {memory / 2**30:.3g} GiB. Lower the number of networks or images of the CCA family, or choose "
                "another -o."
            )
        self._shelf = Shelf(self._fetch, lambda layer: layer.nbytes, memory, uses)

    def take(self, place: Place) -> CanonicalLayer:
        """The next layer of the uses."""
        return self._shelf.take(place)

    def _fetch(self, place: Place) -> CanonicalLayer:
        from repscope.studies.canonical import load, prepare, save

        name, layer = place
        if not self._file(place).exists():
            wanted = [layer] if self._together is None or not self._on_disk else list(self._together[name])
            found = representations(self._models[name], self._data, wanted, **self._capture)
            for other in wanted:
                made = prepare(found.pop(other), variances=self._variances, dtype=self.dtype)
                if not self._on_disk:
                    return made
                self._folder.mkdir(exist_ok=True)
                with replaced(self._file((name, other))) as partial:
                    save(made, partial)
                del made
        return load(self._file(place), next(self._models[name].parameters()).device)

    def _file(self, place: Place) -> Path:
        return self._folder / f"{'-'.join(place)}.safetensors".replace(" ", "-")

    def remove(self) -> None:
        """Give the disk back."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _free(model: nn.Module) -> float:
    """Bytes that can still be taken on the network's device."""
    free = free_memory(str(next(model.parameters()).device))
    return available_memory() if free is None else free


def _widths(
    models: Mapping[str, nn.Module], layers: Mapping[str, Sequence[str]], data: Any, capture: Mapping[str, Any]
) -> dict[str, dict[str, int]]:
    """For each network, layer to number of features."""
    widths = {}
    for name, model in models.items():
        found = representations(model, data[:2], list(layers[name]), **capture)
        widths[name] = {layer: int(x.shape[1]) for layer, x in found.items()}
    return widths


def _expected(
    models: Mapping[str, nn.Module],
    widths: Mapping[str, Mapping[str, int]],
    n: int,
    pairs: Sequence[tuple[str, str]],
) -> float | None:
    """Seconds to expect on the CPU, or None where it is not worth saying or nobody knows."""
    if any(next(model.parameters()).device.type != "cpu" for model in models.values()):
        return None
    names = list(widths)
    ranks = [[min(n, p) for p in widths[name].values()] for name in names]
    seconds = operations(ranks, n, [(names.index(a), names.index(b)) for a, b in pairs]) / flops_per_second()
    return seconds if seconds > WORTH_SAYING else None


def operations(ranks: Sequence[Sequence[int]], n: int, pairs: Sequence[tuple[int, int]]) -> float:
    """Operations in single precision that the CCA family takes as long as.

    Args:
        ranks: For each network the ranks of its layers.
        n: Examples.
        pairs: Places of the networks whose layers are compared.
    """
    total = sum((_MOMENTS + _BASIS) * n * p**2 + _DECOMPOSITION * p**3 for ps in ranks for p in ps)
    for a, b in pairs:
        for p, q in itertools.product(ranks[a], ranks[b]):
            vectors = 3 * min(p, q)  # right ones from the left, and the weights of PWCCA by either
            total += _PRODUCT * (n + vectors) * p * q + (_PRODUCT / 2 + _SCORING) * min(p, q) ** 3
    return total
