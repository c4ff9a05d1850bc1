"""The CCA family between networks: each layer is decomposed once, and as many as fit stay in memory.

Ten networks of nine layers with up to 16,384 features and 50,000 examples do not fit a memory. Each decomposed layer is
written to a folder that is removed at the end, and held, on the GPU where there is one, as long as the room is not
needed for one that comes sooner. What is finished, a layer or a pair of layers, is not done again.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Generator, Iterable, Mapping, Sequence
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
from repscope.studies.folder import Folder, replaced
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
    from repscope.studies.canonical import room_of
    from repscope.studies.networks import representation_layers

    if layers is None:
        layers = {name: representation_layers(model) for name, model in models.items()}
    capture = {"reduce": "flatten"} if capture is None else capture
    examples = len(data) if examples is None else examples
    rows = [(a, b, layer) for a, b in pairs for layer in layers[a]]
    absent = {row: others for row in rows if (others := context.folder.absent(_part(*row), layers[row[1]]))}
    widths = _widths(models, layers, data, capture)
    cells = [((a, layer), (b, other)) for (a, b, layer), others in absent.items() for other in others]
    uses = [
        place for (a, b, layer), others in absent.items() for place in ((a, layer), *((b, other) for other in others))
    ]
    bases = _Bases(context, models, data, variances, capture, layers if together else None)
    rooms = {(name, layer): room_of(examples, p, bases.dtype) for name in models for layer, p in widths[name].items()}
    bases.expect(uses, rooms)
    if expected := _expected(models, widths, examples, bases.to_make(uses), cells):
        context.say(
            f"CCA family of {len(models)} networks on {examples:,} examples: about {duration(expected)} to expect"
        )
    steps = itertools.chain.from_iterable(_score_row(context, bases, row, others) for row, others in absent.items())
    for _ in track(steps, "CCA family", total=len(cells), show=context.progress):
        pass
    bases.remove()
    return {(a, b): _table(context.folder, a, b, layers[a], layers[b]) for a, b in pairs}


def _score_row(
    context: Context, bases: _Bases, row: tuple[str, str, str], others: Sequence[str]
) -> Generator[None, None, None]:
    """Score a layer against layers of another network, keep each pair, and yield after it."""
    from repscope.studies.canonical import scores

    a, b, layer = row
    with context.timed("CCA family"):
        x = bases.take((a, layer))
    for other in others:
        with context.timed("CCA family"):
            found = scores(x, bases.take((b, other)))
        context.folder.add(_part(*row), other, found)
        yield


def _table(
    folder: Folder, a: str, b: str, row_layers: Sequence[str], column_layers: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Index to scores (2, row layers, column layers) of two networks, from what is kept of them."""
    rows = [folder.part(_part(a, b, layer)) for layer in row_layers]
    indexes = rows[0][column_layers[0]]
    return {
        index: np.moveaxis(np.array([[row[other][index] for other in column_layers] for row in rows]), 2, 0)
        for index in indexes
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
    """Name under which the scores of one layer with another network's are kept."""
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
        needed = sum(rooms[place] for place in self.to_make(uses))
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

    def to_make(self, uses: Sequence[Place]) -> set[Place]:
        """Those that an earlier call has not left in the folder."""
        return {place for place in uses if not self._file(place).exists()}

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
    places: Iterable[Place],
    cells: Iterable[tuple[Place, Place]],
) -> float | None:
    """Seconds that what is left takes on the CPU, or None where it is not worth saying or nobody knows."""
    if any(next(model.parameters()).device.type != "cpu" for model in models.values()):
        return None

    def rank(place: Place) -> int:
        name, layer = place
        return min(n, widths[name][layer])

    seconds = (
        sum(_to_decompose(n, rank(place)) for place in places) + sum(_to_score(n, rank(x), rank(y)) for x, y in cells)
    ) / flops_per_second()
    return seconds if seconds > WORTH_SAYING else None


def operations(ranks: Sequence[Sequence[int]], n: int, pairs: Sequence[tuple[int, int]]) -> float:
    """Operations in single precision that the CCA family takes as long as.

    Args:
        ranks: For each network the ranks of its layers.
        n: Examples.
        pairs: Places of the networks whose layers are compared.
    """
    decomposing = sum(_to_decompose(n, p) for of_one in ranks for p in of_one)
    return decomposing + sum(_to_score(n, p, q) for a, b in pairs for p, q in itertools.product(ranks[a], ranks[b]))


def _to_decompose(n: int, p: int) -> float:
    return (_MOMENTS + _BASIS) * n * p**2 + _DECOMPOSITION * p**3


def _to_score(n: int, p: int, q: int) -> float:
    vectors = 3 * min(p, q)  # right ones from the left, and the weights of PWCCA by either
    return _PRODUCT * (n + vectors) * p * q + (_PRODUCT / 2 + _SCORING) * min(p, q) ** 3
