"""Values of options that are more than one word: ``--kernel rbf:0.4`` and ``--option key=value``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from repscope.compare import compare
from repscope.errors import InputError
from repscope.measures.catalog import configure
from repscope.measures.kernels import RBF, Cosine, Kernel, KernelLike, Laplace, Linear, Polynomial

KERNELS: dict[str, type[Kernel]] = {
    "linear": Linear,
    "cosine": Cosine,
    "rbf": RBF,
    "laplace": Laplace,
    "polynomial": Polynomial,
}
_FLAGS = {"measure": "--measure", "kernel": "--kernel", "estimator": "--estimator", "layers": "--layers"}


def parse_kernel(text: str) -> KernelLike:
    """The kernel that a text names.

    Args:
        text: A name, and after a colon the kernel's parameters in their order or by name, with commas between:
            ``linear``, ``rbf:0.4``, ``rbf:sigma=2``, ``laplace:1,median=off-diagonal``, ``polynomial:3,constant=0``.

    Raises:
        InputError: For an unknown name or parameter, or a value that the kernel refuses.
    """
    name, colon, rest = text.partition(":")
    if name.lower() not in KERNELS:
        raise InputError(
            f"compare: --kernel must begin with {', '.join(KERNELS)}, got {text!r}. For example: --kernel rbf:0.4"
        )
    kind = KERNELS[name.lower()]
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # every kernel here is a dataclass
    given: dict[str, Any] = {}
    for place, part in enumerate(rest.split(",") if colon else ()):
        key, equals, value = part.partition("=")
        if not equals:
            key, value = (known[place] if place < len(known) else ""), part
        if key not in known or key in given or not value:
            takes = f"takes {', '.join(known)}" if known else "takes no parameters"
            raise InputError(f"compare: --kernel {name} {takes}, got {part!r}. For example: --kernel rbf:0.4")
        given[key] = parse_value(value)
        if isinstance(given[key], str) and key != "median":
            raise InputError(f"compare: --kernel must have numbers as parameters, got {text!r}.")
    if colon == "" and name.lower() in ("linear", "cosine"):
        return name.lower()  # as the default is written, in results too
    return kind(**given)


def score_settings(
    *,
    measures: Sequence[str],
    kernel: str,
    estimator: str,
    option: Sequence[str] | None,
    reduce: str,
    batch_size: int,
    memory: str | None,
    quiet: bool,
) -> dict[str, Any]:
    """What all commands that score pass on, but for the measures; what is wrong with it is said before torch is loaded.

    Raises:
        InputError: For an unknown measure or kernel, and an option without a value.
    """
    for name in measures:
        configure(name)
    return {
        "kernel": parse_kernel(kernel),
        "estimator": estimator,
        "reduce": reduce,
        "batch_size": batch_size,
        "memory": memory,
        "progress": False if quiet else None,
        **parse_options(option or []),
    }


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Further options of the measures, from ``key=value`` each.

    Raises:
        InputError: For a text of another form, a key given twice, or a key that has an option of its own.
    """
    options: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise InputError(f"compare: --option must be key=value, got {text!r}. For example: --option summary=mean")
        if key in inspect.signature(compare).parameters:
            raise InputError(
                f"compare: --option must name an option of a measure, got {text!r}. "
                f"{f'Use {_FLAGS[key]}.' if key in _FLAGS else 'See: repscope compare --help'}"
            )
        if key in options:
            raise InputError(f"compare: --option {key} must be given once, got it twice.")
        options[key] = parse_value(value)
    return options


def parse_value(text: str) -> Any:
    """A whole number, a number (``inf`` too), true, false, none, or else the text itself."""
    word = text.strip()
    constants = {"true": True, "false": False, "none": None}
    if word.lower() in constants:
        return constants[word.lower()]
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            continue
    return word


def parse_shard(text: str) -> tuple[int, int]:
    """``2/4`` as the second of four shares.

    Raises:
        InputError: The text is of another form.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"compare: --shard must be k/count with k from 1 to count, such as 2/4, got {text!r}.")
    return int(found[1]), int(found[2])
