"""What is trained, and how: descriptions that can be compared, hashed and written as JSON."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import torch
from torch import nn

from repscope.errors import InputError
from repscope.studies.augmentation import FlipAndCrop
from repscope.studies.networks import plain, resnet, tiny10, width_net
from repscope.studies.training import Precision
from repscope.studies.translator import translator

if TYPE_CHECKING:
    from repscope.studies.datasets import ImageSet
    from repscope.studies.text import ParallelText

_OF_IMAGES = MappingProxyType({"in_channels": "channels", "classes": "classes"})
_OF_TEXT = MappingProxyType({"vocabulary": "vocabulary"})


AnyPrecision = Literal["auto", "float32", "bfloat16"]


class Architecture(NamedTuple):
    """A family of networks.

    Attributes:
        build: Makes one, from ``seed``, what the data decide, and options of its own.
        stem: How the name of a member begins.
        member: The option whose value follows in the name; empty where the name is whole.
        from_data: Argument that the data decide, to its name among the facts about them.
    """

    build: Callable[..., nn.Module]
    stem: str
    member: str = ""
    from_data: Mapping[str, str] = _OF_IMAGES


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "tiny10": Architecture(tiny10, "tiny10"),
        "plain": Architecture(plain, "plain", "depth"),
        "width_net": Architecture(width_net, "width", "width"),
        "resnet": Architecture(resnet, "resnet", "depth"),
        "translator": Architecture(translator, "translator", from_data=_OF_TEXT),
    }
)
"""The networks of Kornblith et al. (2019) by the names of the functions that build them."""


@dataclass(frozen=True)
class NetworkSpec:
    """A network before it has data or a seed.

    Attributes:
        architecture: A key of ``ARCHITECTURES``.
        options: Arguments of the function that builds it; what is not given takes the function's default, so that
            ``NetworkSpec("plain")`` and ``NetworkSpec("plain", {"depth": 10})`` are equal.

    Raises:
        InputError: The architecture or an option is unknown, or an option is missing.

    Example:
        >>> NetworkSpec("plain", {"depth": 18}).name
        'plain18'
    """

    architecture: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise InputError(
                f"NetworkSpec: architecture must be one of {', '.join(ARCHITECTURES)}, got {self.architecture!r}."
            )
        known = self._parameters()
        unknown = [option for option in self.options if option not in known]
        if unknown:
            raise InputError(
                f"NetworkSpec: options of {self.architecture} must be among {', '.join(known)}, got {unknown[0]!r}."
            )
        whole = {name: self.options.get(name, default) for name, default in known.items()}
        missing = [name for name, value in whole.items() if value is inspect.Parameter.empty]
        if missing:
            raise InputError(
                f"NetworkSpec: options of {self.architecture} must hold {missing[0]!r}, got {dict(self.options)}."
            )
        object.__setattr__(self, "options", MappingProxyType(whole))

    def __hash__(self) -> int:
        return hash(json.dumps(self.as_json(), sort_keys=True))

    def _parameters(self) -> dict[str, Any]:
        family = ARCHITECTURES[self.architecture]
        return {
            name: parameter.default
            for name, parameter in inspect.signature(family.build).parameters.items()
            if name != "seed" and name not in family.from_data
        }

    @property
    def recipe(self) -> type[Recipe] | type[TranslationRecipe]:
        """The kind of recipe by which it is trained."""
        return TranslationRecipe if ARCHITECTURES[self.architecture].from_data == _OF_TEXT else Recipe

    @property
    def name(self) -> str:
        """A short name for people and files, such as ``plain18`` or ``tiny10-no-batch-norm``."""
        _, stem, member, _ = ARCHITECTURES[self.architecture]
        parts = [f"{stem}{self.options[member]}" if member else stem]
        for option, default in self._parameters().items():
            value = self.options[option]
            if option == member or value == default:
                continue
            label = option.replace("_", "-")
            parts.append({True: label, False: f"no-{label}"}[value] if isinstance(value, bool) else f"{label}{value}")
        return "-".join(parts)

    def build(self, data: ImageSet | ParallelText, seed: int) -> nn.Module:
        """Return the untrained network for ``data``, on the CPU, in training mode."""
        return self.create(data.facts(), seed)

    def create(self, facts: Mapping[str, Any], seed: int | None) -> nn.Module:
        """Return the untrained network for data about which ``facts`` are known, as the file of a network has them."""
        family = ARCHITECTURES[self.architecture]
        missing = [fact for fact in family.from_data.values() if fact not in facts]
        if missing:
            raise InputError(
                f"NetworkSpec: data of a {self.architecture} must have {missing[0]}, got {facts.get('name')!r}, which "
                "has none. Images and text have networks of their own."
            )
        sizes = {argument: facts[fact] for argument, fact in family.from_data.items()}
        return family.build(**sizes, seed=seed, **self.options)

    def as_json(self) -> dict[str, Any]:
        """The description in the types of JSON; :meth:`from_json` reads it."""
        return {"architecture": self.architecture, "options": dict(self.options)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> NetworkSpec:
        """The description that :meth:`as_json` gave."""
        return cls(value["architecture"], value["options"])


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD as in :func:`repscope.studies.training.train`, flips and crops.

    Attributes:
        epochs: Passes over the training images; 0 leaves the network untrained.
        batch_size: Images in a step, at most.
        learning_rate: Its peak, after the first quarter of the steps.
        weight_decay: On weights of convolutions and of the last layer, not on biases and batch normalisation.
        crop: Pixels of zeros around an image, from which it is cut again at random.
        flip: Whether every second image is mirrored.
        precision: ``"auto"``: ``"bfloat16"`` on a GPU or a processor with instructions for it, else ``"float32"``.
    """

    epochs: int = 24
    batch_size: int = 128
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    crop: int = 2
    flip: bool = True
    precision: AnyPrecision = "auto"

    def __post_init__(self) -> None:
        for name in ("epochs", "weight_decay", "crop"):
            if not getattr(self, name) >= 0:
                raise InputError(f"Recipe: {name} must be 0 or more, got {getattr(self, name)}.")
        for name in ("batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"Recipe: {name} must be positive, got {getattr(self, name)}.")
        _check_precision(self.precision)

    @classmethod
    def for_images(cls, name: str, *, batch_norm: bool = True, **changes: Any) -> Recipe:
        """The recipe for a data set: the defaults for CIFAR, smaller steps without mirroring for the digits.

        Args:
            name: ``ImageSet.name``, with what was done to the set behind a hyphen: ``"digits-transposed"``.
            batch_norm: False: for a network without batch normalisation. Its steps are a fifth as long; with whole
                ones Tiny-10 stays at chance on CIFAR-10.
            changes: Attributes that shall differ.
        """
        of_digits = name.partition("-")[0] == "digits"
        recipe = cls(epochs=12, batch_size=64, learning_rate=0.1, crop=1, flip=False) if of_digits else cls()
        if not batch_norm:
            recipe = replace(recipe, learning_rate=recipe.learning_rate / 5)
        return replace(recipe, **changes)

    @property
    def augmentation(self) -> FlipAndCrop | None:
        """The change of every training batch; None where there is none."""
        return FlipAndCrop(self.crop, self.flip) if self.crop or self.flip else None

    def precision_on(self, device: torch.device) -> Precision:
        """The precision of the training on a device."""
        return _precision_on(self.precision, device)

    def as_json(self) -> dict[str, Any]:
        """The recipe in the types of JSON; :meth:`from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Recipe:
        """The recipe that :meth:`as_json` gave."""
        return cls(**{attribute.name: value[attribute.name] for attribute in fields(cls)})


@dataclass(frozen=True)
class TranslationRecipe:
    """How a translator is trained: Adam as in :func:`repscope.studies.translating.train_translator`.

    Attributes:
        epochs: Passes over the training pairs; 0 leaves the network untrained.
        batch_size: Pairs of sentences in a step, at most.
        learning_rate: Its peak, after the first quarter of the steps.
        label_smoothing: Share of the probability that the loss spreads over all tokens.
        precision: ``"auto"``: ``"bfloat16"`` on a GPU or a processor with instructions for it, else ``"float32"``.
    """

    epochs: int = 8
    batch_size: int = 32
    learning_rate: float = 3e-3
    label_smoothing: float = 0.1
    precision: AnyPrecision = "auto"

    def __post_init__(self) -> None:
        if not self.epochs >= 0:
            raise InputError(f"TranslationRecipe: epochs must be 0 or more, got {self.epochs}.")
        for name in ("batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"TranslationRecipe: {name} must be positive, got {getattr(self, name)}.")
        if not 0 <= self.label_smoothing < 1:
            raise InputError(
                f"TranslationRecipe: label_smoothing must be from 0 to below 1, got {self.label_smoothing}."
            )
        _check_precision(self.precision, "TranslationRecipe")

    def precision_on(self, device: torch.device) -> Precision:
        """The precision of the training on a device."""
        return _precision_on(self.precision, device)

    def as_json(self) -> dict[str, Any]:
        """The recipe in the types of JSON; :meth:`from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TranslationRecipe:
        """The recipe that :meth:`as_json` gave."""
        return cls(**{attribute.name: value[attribute.name] for attribute in fields(cls)})


AnyRecipe = Recipe | TranslationRecipe


def _check_precision(precision: str, owner: str = "Recipe") -> None:
    if precision not in get_args(AnyPrecision):
        raise InputError(f"{owner}: precision must be auto, float32 or bfloat16, got {precision!r}.")


def _precision_on(precision: AnyPrecision, device: torch.device) -> Precision:
    if precision != "auto":
        return precision
    return "bfloat16" if device.type == "cuda" or _cpu_has_bfloat16() else "float32"


def _cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies numbers of 16 bits faster than those of 32, as far as torch can tell."""
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, test, lambda: False)() for test in tests)
