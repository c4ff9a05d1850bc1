"""What a study is, and the place in which it works."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from repscope._words import did_you_mean
from repscope.compare import compare
from repscope.comparison import Comparison, load
from repscope.errors import InputError, RepscopeWarning
from repscope.measures.catalog import configure
from repscope.measures.measure import ConfiguredMeasure
from repscope.studies.claims import Check, Claim
from repscope.studies.findings import Findings
from repscope.studies.folder import Folder
from repscope.studies.plans import Plan, PlanOf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from repscope.studies.datasets import ImageSet
    from repscope.studies.text import ParallelText
    from repscope.studies.zoo import NetworkSpec, TrainedNetwork
    from repscope.studies.zoo.spec import AnyRecipe

Scale = Literal["tiny", "small", "paper"]
SCALES: tuple[Scale, ...] = ("tiny", "small", "paper")

CKA = configure("cka", estimator="biased")
"""The index of all of the paper's experiments but Table 2: linear CKA with the biased estimator (eq. 3 and 4)."""


_STAND_INS = {
    "digits": "digits stand in for the paper's images",
    "numbers": "number words stand in for the paper's text",
}

TRANSPOSED = "-transposed"
"""Ending of a data set's name: the same images mirrored at the diagonal, a second data set where there is but one."""


@dataclass(frozen=True)
class Study:
    """One experiment of the paper.

    Attributes:
        name: As on the command line.
        title: What is asked, in a few words.
        source: Tables, figures and sections of the paper.
        shows: What the paper shows, in a few sentences.
        protocol: What is done here, and what the paper leaves open and how it is filled, in sentences.
        settings: For each scale, everything that decides the numbers, as values of JSON.
        reductions: For each scale, what is smaller than in the paper and how that moves the numbers.
        run: Does it.
        plan: What it trains and compares at given settings.
    """

    name: str
    title: str
    source: str
    shows: str
    protocol: Sequence[str]
    settings: Mapping[Scale, Mapping[str, Any]]
    reductions: Mapping[Scale, Sequence[str]]
    run: Callable[[Context], Findings]
    plan: PlanOf = lambda _: Plan()

    def settled(self, scale: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a scale with changes of the caller's.

        Args:
            scale: ``"tiny"``, ``"small"`` or ``"paper"``.
            changes: Setting to value, of the type that the setting has; texts are converted.

        Raises:
            InputError: There is no such scale or setting, or the value does not fit.
        """
        if scale not in SCALES:
            raise InputError(f"reproduce: scale must be one of {', '.join(SCALES)}, got {scale!r}.")
        settings = dict(self.settings[scale])
        for key, value in changes.items():
            if key not in settings:
                raise InputError(
                    f"reproduce: {self.name} has no setting {key!r}.{did_you_mean(key, settings)} "
                    f"There are {', '.join(settings)}."
                )
            settings[key] = _converted(key, value, settings[key])
        return settings


@dataclass
class Context:
    """Where a study works: its settings, its data, its networks, and the folder that keeps what is finished.

    Attributes:
        study: The study.
        scale: At which scale.
        settings: What decides the numbers.
        folder: Where results are kept.
        networks: Folder of trained networks, which studies share.
        data_dir: Folder of the files of CIFAR or Multi30k; None where embedded data are enough.
        download: Fetch missing data from their authors.
        device: Where networks are trained and run: ``"auto"``, ``"cpu"``, ``"cuda"``.
        progress: Show bars; None: where stderr is a terminal.
        say: Called with one line of news at a time.
        trained: The networks of this run, for the record.
    """

    study: Study
    scale: Scale
    settings: Mapping[str, Any]
    folder: Folder
    networks: Path
    data_dir: Path | None = None
    download: bool = False
    device: str = "auto"
    progress: bool | None = None
    say: Callable[[str], None] = lambda _: None
    trained: list[dict[str, Any]] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    _images: dict[str, ImageSet] = field(default_factory=dict)
    _texts: dict[str, ParallelText] = field(default_factory=dict)

    def __getitem__(self, setting: str) -> Any:
        return self.settings[setting]

    # -- data and networks ------------------------------------------------------------------------------------

    @property
    def stands_in(self) -> str:
        """What stands in for the paper's data, so that no claim about them can be tested; empty where nothing does."""
        return _STAND_INS.get(str(self.settings.get("data")), "")

    def images(self, name: str | None = None) -> ImageSet:
        """A data set, loaded once; the study's own by default."""
        from repscope.studies.datasets import load_images

        name = self["data"] if name is None else name
        if name not in self._images:
            loaded = load_images(name.removesuffix(TRANSPOSED), self.data_dir, download=self.download)
            if name.endswith(TRANSPOSED):
                loaded = _transposed(loaded)
            self.folder.settle(f"data {name}", loaded.fingerprint)
            self._images[name] = loaded
        return self._images[name]

    def train(
        self,
        network: NetworkSpec,
        seeds: Sequence[int],
        *,
        data: str | None = None,
        epochs: int | None = None,
        title: str = "",
        **recipe: Any,
    ) -> list[TrainedNetwork]:
        """Networks of one kind, one a seed; those trained before, by this study or another, are read.

        Args:
            network: Architecture.
            seeds: Of initial weights and training.
            data: Data set; None for the study's own.
            epochs: Passes over the training images; None for the study's setting, 0 for untrained networks.
            title: What messages and the record call them; empty for the name of the architecture.
            **recipe: What else :meth:`Recipe.for_images` takes.
        """
        from repscope.studies.zoo import Recipe

        images = self.images(data)
        epochs = self["epochs"] if epochs is None else epochs
        limit = self.limited("train", images, self.settings.get("train_images"))
        return self._trained(
            network, images, Recipe.for_images(images.name, epochs=epochs, **recipe), seeds, limit, title
        )

    def text(self) -> ParallelText:
        """The sentences of the study, loaded once."""
        from repscope.studies.text import load_text

        name = self["data"]
        if name not in self._texts:
            loaded = load_text(name, self.data_dir, vocabulary_size=self["vocabulary"])
            self.folder.settle(f"data {name}", loaded.fingerprint)
            self._texts[name] = loaded
        return self._texts[name]

    def train_translators(self, network: NetworkSpec, seeds: Sequence[int], *, title: str = "") -> list[TrainedNetwork]:
        """Translators of one kind, one a seed, on the study's text by its settings; as :meth:`train` does for images.

        Args:
            network: Sizes.
            seeds: Of initial weights and training.
            title: What messages and the record call them; empty for the name of the architecture.
        """
        from repscope.studies.zoo import TranslationRecipe

        text = self.text()
        wanted = self["train_pairs"]
        recipe = TranslationRecipe(
            epochs=self["epochs"], batch_size=self["batch_size"], learning_rate=self["learning_rate"]
        )
        return self._trained(network, text, recipe, seeds, wanted if wanted < text.train_examples else None, title)

    def _trained(
        self,
        network: NetworkSpec,
        data: ImageSet | ParallelText,
        recipe: AnyRecipe,
        seeds: Sequence[int],
        limit: int | None,
        title: str,
    ) -> list[TrainedNetwork]:
        from repscope.studies._checkpoint import digest
        from repscope.studies.zoo import trained

        speaks = self.progress is not False and self.scale != "tiny"
        with self.timed("training"):
            found = trained(
                network,
                data,
                recipe,
                list(seeds),
                self.networks,
                device=self.device,
                progress=speaks or self.progress,
                limit=limit,
            )
        for net in found:
            # What is kept in the folder was computed from these weights; others would be mixed with it.
            self.folder.settle(f"network {net.file.stem}", digest(net.model.state_dict().values())[:16])
            self.trained.append(
                {
                    "network": title or network.name,
                    "data": data.name,
                    "seed": net.seed,
                    "epochs": recipe.epochs,
                    "test accuracy": net.test_accuracy,
                    "seconds": net.record.seconds,
                    "file": net.file.name,
                }
            )
        return found

    def limited(self, split: str, images: ImageSet, wanted: int | None) -> int | None:
        """The number of images wanted; None, for all, where the data set has no more than these."""
        available = len(images.train_images if split == "train" else images.test_images)
        return None if wanted is None or wanted >= available else wanted

    def data(self, split: str = "test", name: str | None = None, limit: int | None = None) -> NDArray[np.float32]:
        """Images on which layers are compared: the first ``images`` of a part, as the networks take them."""
        images = self.images(name)
        limit = self["images"] if limit is None else limit
        return images.standardised(split, self.limited(split, images, limit))  # type: ignore[arg-type]

    @property
    def loaded(self) -> Mapping[str, ImageSet | ParallelText]:
        """The data sets that were used, by name."""
        return {**self._images, **self._texts}

    @property
    def device_name(self) -> str:
        """Where the work was done, in words."""
        import platform

        import torch

        from repscope.studies.zoo.runner import device_of

        device = device_of(self.device)
        if device.type == "cuda":
            return torch.cuda.get_device_name(device)
        threads = torch.get_num_threads()
        return f"CPU ({platform.machine()}, {threads} thread{'' if threads == 1 else 's'})"

    # -- comparisons ------------------------------------------------------------------------------------------

    def compare(
        self,
        name: str,
        models: Mapping[str, nn.Module],
        data: NDArray[np.float32],
        *,
        layers: Mapping[str, Sequence[str]] | None = None,
        batch_size: int = 256,
    ) -> Comparison:
        """All layers of all models against all by linear CKA as in the paper; kept under ``name``."""
        capture = {"reduce": "flatten", "batch_size": batch_size}
        return self.compare_all({name: CKA}, models, data, layers=layers, capture=capture)[name]

    def compare_all(
        self,
        measures: Mapping[str, ConfiguredMeasure],
        models: Mapping[str, nn.Module],
        data: Any,
        *,
        layers: Mapping[str, Sequence[str]] | None = None,
        capture: Mapping[str, Any] | None = None,
    ) -> dict[str, Comparison]:
        """All layers of all models against all by several measures, each kept under its name.

        Args:
            measures: Name to measure.
            models: Name to network.
            data: Images, shape (n, channels, height, width), or batches of sentences.
            layers: For each model the layers; None for all that the paper compares.
            capture: What else :func:`repscope.compare` takes of capturing; None flattens maps.
        """
        missing = {name: m for name, m in measures.items() if not self.folder.comparison(name).exists()}
        if missing:
            from repscope.studies.networks import representation_layers

            given = layers or {}
            chosen = {
                name: list(given[name] if name in given else representation_layers(model))
                for name, model in models.items()
            }
            with self.timed("comparing"), warnings.catch_warnings():
                warnings.simplefilter("ignore", RepscopeWarning)  # in Comparison.warnings, and from there on the page
                found = compare(
                    dict(models),
                    data=data,
                    layers=chosen,
                    measure=list(missing.values()),
                    pairs="all",
                    intervals=False,  # the units of replication are networks
                    progress=self.progress,
                    **({"reduce": "flatten"} if capture is None else capture),
                )
            for name, measure in missing.items():
                found[measure.label].save(self.folder.comparison(name))
        return {name: self.read(name) for name in measures}

    def read(self, name: str) -> Comparison:
        """A comparison that is kept."""
        found = load(self.folder.comparison(name))
        self.warned.extend(f"{name}: {warning}" for warning in found.warnings)
        return found

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Record the time of the block under a name."""
        start = time.perf_counter()
        yield
        self.folder.took(stage, time.perf_counter() - start)

    # -- claims -----------------------------------------------------------------------------------------------

    def claim(self, text: str, source: str, *checks: Check, untested: str = "") -> Claim:
        """A claim about trained networks, which digits in place of images, or number words of text, cannot test.

        Args:
            text: The statement.
            source: Where the paper makes it.
            checks: What has to be true.
            untested: Another reason why it cannot be tested.
        """
        untested = untested or self.stands_in
        return Claim(text, source, checks, untested)


def _transposed(images: ImageSet) -> ImageSet:
    return replace(
        images,
        name=images.name + TRANSPOSED,
        train_images=_mirrored(images.train_images),
        test_images=_mirrored(images.test_images),
    )


def _mirrored(pixels: Any) -> Any:
    return np.ascontiguousarray(pixels.swapaxes(2, 3))


def _converted(key: str, value: Any, present: Any) -> Any:
    """A value in the type of the present one."""
    kinds = {int: "a whole number", float: "a number", str: "a word", list: "a list, with commas"}
    kind = type(present)
    try:
        if isinstance(present, bool):
            return {"true": True, "false": False}[str(value).lower()]
        if isinstance(present, list):
            items = value.split(",") if isinstance(value, str) else list(value)
            of = type(present[0]) if present else str
            return [of(item) for item in items]
        if kind in (int, float, str) and not isinstance(value, list | tuple):
            converted = kind(value)
            if kind is int and float(value) != converted:
                raise ValueError
            return converted
        raise ValueError
    except (ValueError, TypeError, KeyError):
        raise InputError(
            f"reproduce: setting {key} must be {kinds.get(kind, 'true or false')}, got {value!r}."
        ) from None


def terminal(line: str) -> None:
    """One line of news on stderr."""
    print(line, file=sys.stderr, flush=True)
