"""What moves the share of layers that linear CKA identifies: the number of images, the estimator, or training images?

    python -m benchmarks.identification --data-dir DIR [--networks-dir results/networks/tiny10-cifar10] [--out FILE]

Layers of all networks of a folder, of one architecture and different seeds, against each other, as in the study
"sanity": maps flattened, all pairs of images, the first images of a part. Accuracy: the share of (ordered pair of
networks, layer) whose most similar layer in the other network is the one at the same place. Then, of the most training
images: in which networks the layers are that are missed, and how far away the layers are that were taken for them.
Some six minutes of one core.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import repscope
from benchmarks.tables import Table, parser, whole_numbers
from repscope.measures.catalog import configure
from repscope.studies.datasets import ImageSet, load_images
from repscope.studies.identification import identification_accuracy, jackknife_standard_error
from repscope.studies.networks import representation_layers
from repscope.studies.table2 import by_network
from repscope.studies.zoo import load

ESTIMATORS = ("biased", "unbiased")


def scores(models: Mapping[str, Any], images: np.ndarray) -> dict[str, np.ndarray]:
    """Linear CKA by estimator, (networks, networks, layers, layers)."""
    found = repscope.compare(
        dict(models),
        data=images,
        layers={name: list(representation_layers(model)) for name, model in models.items()},
        measure=[configure("cka", estimator=estimator) for estimator in ESTIMATORS],
        pairs="all",
        reduce="flatten",
        intervals=False,
        progress=False,
    )
    return dict(zip(ESTIMATORS, map(by_network, found.values()), strict=True))


def accuracies(table: Table, models: Mapping[str, Any], images: ImageSet, cases: list[tuple[str, int]]) -> np.ndarray:
    """A row for each number of images and estimator; the biased scores of the last case."""
    table.head("images", "number", "estimator", "identified, %", "s.e. over networks")
    for part, number in cases:
        found = scores(models, images.standardised(part, number))  # type: ignore[arg-type]
        for estimator, similarity in found.items():
            accuracy, error = identification_accuracy(similarity), jackknife_standard_error(similarity)
            table.row(part, f"{number:,}", estimator, f"{100 * accuracy:.1f}", f"{100 * error:.1f}")
    return found["biased"]


def misses(table: Table, similarity: np.ndarray, names: list[str]) -> None:
    """In which networks the missed layers are, and what was taken for them."""
    taken = similarity.argmax(axis=3)  # (network, network, layer)
    away = np.abs(taken - np.arange(taken.shape[2]))
    away[np.eye(len(names), dtype=bool)] = 0
    wrong = away > 0
    table.text()
    table.text(
        f"Of the last number of training images, biased: {wrong.sum()} missed, {(away == 1).sum()} of them for the "
        "layer before or after. Found, % of the layers of each network in the others, and of the others in it:"
    )
    table.head("network", "its layers", "the others'")
    cases = (len(names) - 1) * taken.shape[2]
    for index, name in enumerate(names):
        table.row(name, *(f"{100 * (1 - part.sum() / cases):.1f}" for part in (wrong[index], wrong[:, index])))


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data-dir", type=Path, required=True, help="folder of CIFAR-10")
    arguments.add_argument("--networks-dir", type=Path, default=Path("results/networks/tiny10-cifar10"))
    arguments.add_argument("--train", type=whole_numbers, default=[500, 1_000, 2_000, 5_000], help="training images")
    arguments.add_argument("--test", type=whole_numbers, default=[2_000], help="test images")
    given = arguments.parse_args()
    warnings.simplefilter("ignore")
    networks = [load(path) for path in sorted(given.networks_dir.glob("*.safetensors"))]
    models = {f"seed {network.seed}": network.model for network in networks}
    images = load_images("cifar10", given.data_dir)
    table = Table(given.out)
    table.text(f"{len(models)} networks of {given.networks_dir.name}; {images.name}.")
    cases = [("test", number) for number in given.test] + [("train", number) for number in sorted(given.train)]
    misses(table, accuracies(table, models, images, cases), list(models))


if __name__ == "__main__":
    main()
