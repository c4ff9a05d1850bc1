"""A measure and its definition in a few words, from what a comparison says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ACRONYMS = frozenset(
    {"cca", "cka", "cknna", "ensd", "gulp", "hsic", "imd", "knn", "pwcca", "rbf", "rdm", "rsa", "rtd", "svcca"}
)
_WORDS = ("kernel", "estimator", "summary", "kind")
_NUMBERS = {"k": "k = {}", "alpha": "α = {}", "regularization": "λ = {}", "folds": "{} folds"}
_NOTHING = frozenset({"λ = 0.0", "None folds"})


def label(measure: str, conventions: Mapping[str, Any]) -> str:
    """An id of the catalogue and its conventions as a label: ``CKA (linear, unbiased)``."""
    name = " ".join(word.upper() if word in _ACRONYMS else word for word in measure.split("_"))
    used = [conventions.get(key) for key in _WORDS]
    used += [form.format(conventions[key]) for key, form in _NUMBERS.items() if key in conventions]
    options = ", ".join(option for option in used if isinstance(option, str) and option not in _NOTHING)
    return f"{name[:1].upper()}{name[1:]}" + (f" ({options})" if options else "")
