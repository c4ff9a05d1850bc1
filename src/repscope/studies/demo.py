"""The demonstration: which layers of four networks correspond, according to every index of the 2019 paper?

Four Tiny-10 networks are trained from different seeds on handwritten digits, all their layers are
compared with all, and each index of Table 2 is asked to find every layer's counterpart in the other
networks.
"""

from __future__ import annotations

import importlib.util
import json
import os
import time
import unicodedata
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repscope._progress import track
from repscope.compare import compare
from repscope.comparison import Comparison
from repscope.errors import InputError, MissingExtraError, RepscopeWarning
from repscope.studies.digits import load_digits
from repscope.studies.identification import Identification, compare_identification
from repscope.studies.table2 import INDEXES, average_over_pairs, by_network

if TYPE_CHECKING:
    from torch import nn

IMAGE_SIZE = 16

THREADS = 1
"""CPU threads of the training.

Fixed, because the order of float32 sums depends on it, and with it the weights. One, because networks this small gain
little from a second, and on a busy machine two threads that wait for each other take several times as long.
"""


@dataclass(frozen=True)
class TrainedNetwork:
    """One of the networks, after training.

    Attributes:
        name: Its name in the comparisons.
        seed: Seed of its initial weights and of its training.
        loss: Mean cross-entropy over the last epoch, in nats.
        accuracy: Share of the training images that it classifies rightly, 0 to 1.
    """

    name: str
    seed: int
    loss: float
    accuracy: float


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration found, and the files that hold it.

    Attributes:
        networks: The trained networks.
        identification: How well each index identifies corresponding layers, by the index's id.
        chance: Accuracy of an index that sees no structure.
        comparisons: Scores of all layers of all networks, by the index's id.
        figure: PNG with the average layer × layer matrix of every index.
        results: JSON with the settings, the networks and the accuracies.
        comparison_files: The file of each comparison, by the index's id; :func:`repscope.load` reads it.
        seconds: Wall-clock time of each stage.
    """

    networks: tuple[TrainedNetwork, ...]
    identification: Mapping[str, Identification]
    chance: float
    comparisons: Mapping[str, Comparison]
    figure: Path
    results: Path
    comparison_files: Mapping[str, Path]
    seconds: Mapping[str, float]

    def table(self) -> str:
        """Return the accuracies beside the paper's, as text for a terminal."""
        lines = [
            "Accuracy of identifying corresponding layers, %",
            f"{'':<17} {len(self.networks):>3} networks,       10 networks, CIFAR-10",
            f"{'Index':<17} {'digits':>13}  s.e.  (Kornblith et al. 2019)",
        ]
        for index in INDEXES:
            found = self.identification[index.id]
            marks = ("*" if found.among_best else " ") + ("†" if self.comparisons[index.id].warnings else " ")
            lines.append(
                f"{_padded(index.title, 17)} {100 * found.accuracy:>13.1f}{marks}{100 * found.standard_error:>4.1f}"
                f" {100 * index.paper:>10.1f}"
            )
        lines += [
            f"{'chance':<17} {100 * self.chance:>13.1f}       {100 * self.chance:>10.1f}",
            "* the best here, and what does not differ from it significantly (jackknife z-test, p < 0.05)",
        ]
        if any(comparison.warnings for comparison in self.comparisons.values()):
            lines.append("† with a warning: layers wider than n force scores of 1 (Theorem 1), or chance scores high")
        return "\n".join(lines)


def run_demo(
    output_dir: str | os.PathLike[str],
    *,
    networks: int = 4,
    epochs: int = 12,
    width: int = 16,
    seed: int = 0,
    progress: bool | None = None,
) -> DemoResult:
    """Train networks on handwritten digits and ask every index of Table 2 which of their layers correspond.

    The recipe: Tiny-10 at 16×16 pixels, trained on all 1,797 digits (SGD, one-cycle learning rate with
    peak 0.1, batches of 64, shifts by up to one pixel); representations of the same images after every
    unit and the global average pool, convolution maps flattened; the paper's definitions and biased
    estimators. The paper itself used ten networks, 32×32 pixels and the 50,000 training images of
    CIFAR-10.

    The same seed gives the same numbers with the same machine and library versions. Trained networks are
    kept in ``output_dir``: a call with the same settings goes on where an earlier one ended or was
    interrupted.

    Args:
        output_dir: Folder for all files; made if it does not exist.
        networks: Number of networks, at least 3.
        epochs: Passes over the digits.
        width: Channels of the first layers.
        seed: Seed of the first network; the others take the integers after it.
        progress: Show bars on stderr; None: where stderr is a terminal.

    Returns:
        The accuracies, the comparisons and the paths of all files.

    Raises:
        InputError: Fewer than three networks, which leave no standard error.
        MissingExtraError: PyTorch or matplotlib is not installed.
    """
    if networks < 3:
        raise InputError(f"run_demo: networks must be at least 3, got {networks}. The jackknife leaves one out.")
    _require("torch", "Training networks", "torch")
    _require("safetensors", "Keeping trained networks", "torch")
    _require("matplotlib", "Drawing the figure", "plot")
    folder = Path(output_dir)
    for part in ("networks", "comparisons"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    models, trained = _train(folder / "networks", range(seed, seed + networks), epochs, width, progress)
    training_end = time.perf_counter()
    comparisons = _compare(models, progress)
    scores = {i.id: by_network(comparisons[i.id], symmetrise=i.symmetrise) for i in INDEXES}
    result = DemoResult(
        networks=trained,
        identification=compare_identification(scores),
        chance=1 / len(next(iter(scores.values()))[0, 0]),
        comparisons=comparisons,
        figure=folder / "layers.png",
        results=folder / "results.json",
        comparison_files={
            name: comparison.save(folder / "comparisons" / f"{name}.npz") for name, comparison in comparisons.items()
        },
        seconds={"training": training_end - start, "scoring": time.perf_counter() - training_end},
    )
    _draw(result)
    _write(result, {"epochs": epochs, "width": width, "seed": seed, "image_size": IMAGE_SIZE})
    return result


def _train(
    folder: Path, seeds: range, epochs: int, width: int, progress: bool | None
) -> tuple[dict[str, nn.Module], tuple[TrainedNetwork, ...]]:
    import torch

    from repscope.studies.augmentation import RandomShift
    from repscope.studies.networks import tiny10
    from repscope.studies.training import accuracy, train

    images, labels = load_digits(IMAGE_SIZE)
    models: dict[str, nn.Module] = {}
    trained = []
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        for number, seed in enumerate(track(seeds, "Training networks", total=len(seeds), show=progress), start=1):
            name = f"net {number}"
            model = tiny10(width, in_channels=1, seed=seed)
            record = train(
                model,
                images,
                labels,
                epochs=epochs,
                seed=seed,
                augment=RandomShift(1),
                checkpoint=folder / f"tiny10-width{width}-epochs{epochs}-seed{seed}.safetensors",
            )
            models[name] = model
            trained.append(TrainedNetwork(name, seed, record.final_loss, accuracy(model, images, labels)))
    finally:
        torch.set_num_threads(threads)
    return models, tuple(trained)


def _compare(models: Mapping[str, nn.Module], progress: bool | None) -> dict[str, Comparison]:
    from repscope.studies.networks import REPRESENTATION_LAYERS

    images, _ = load_digits(IMAGE_SIZE)
    with warnings.catch_warnings():
        # With 1,797 images the early layers are wider than n; comparisons carry such warnings, and so does the table.
        warnings.simplefilter("ignore", RepscopeWarning)
        scored = compare(
            models,
            data=images,
            layers=list(REPRESENTATION_LAYERS),
            measure=[index.measure for index in INDEXES],
            pairs="all",
            reduce="flatten",
            progress=progress,
        )
    return {index.id: scored[index.measure.label] for index in INDEXES}


def _draw(result: DemoResult) -> None:
    from repscope.plot import grid

    panels = {}
    for index in INDEXES:
        share = 100 * result.identification[index.id].accuracy
        average = average_over_pairs(result.comparisons[index.id], symmetrise=index.symmetrise)
        panels[f"{index.title}: {share:.0f} %"] = average
    figure = grid(
        panels,
        columns=4,
        share_limits=False,
        limits="data",
        title="Average similarity of layers of independently trained networks; % of layers identified",
    )
    partial = result.figure.with_name(result.figure.name + ".partial")
    figure.savefig(partial, format="png", dpi=150)
    os.replace(partial, result.figure)


def _write(result: DemoResult, settings: Mapping[str, Any]) -> None:
    """Write the numbers as JSON; nothing in it depends on the clock, so equal runs give equal files."""
    content = {
        "settings": settings,
        "networks": [asdict(network) for network in result.networks],
        "chance": result.chance,
        "indexes": [
            {"id": i.id, "title": i.title, **asdict(result.identification[i.id]), "paper": i.paper} for i in INDEXES
        ],
        "versions": dict(next(iter(result.comparisons.values())).versions),
    }
    partial = result.results.with_name(result.results.name + ".partial")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, result.results)


def _require(package: str, purpose: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(purpose, package, extra)


def _padded(text: str, width: int) -> str:
    """Pad to a width on the screen, where combining marks such as that of ρ̄ take no place."""
    return text + " " * (width - sum(not unicodedata.combining(letter) for letter in text))
