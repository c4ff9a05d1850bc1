"""What a comparison is, before its values are known: labels, conventions, versions."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from platform import python_version
from typing import Any

from repscope.engine.plan import Plan
from repscope.measures._tiles import tileable
from repscope.measures.kernels import RBF, Cosine, Kernel, Laplace, Linear, as_kernel
from repscope.measures.measure import ConfiguredMeasure, describe
from repscope.subjects import Subject

_PACKAGES = {"numpy": "numpy", "torch": "torch", "array_api_compat": "array-api-compat"}


def facts_of(
    measure: ConfiguredMeasure,
    subjects: Sequence[Subject],
    layers: Sequence[Sequence[str]],
    axes: tuple[Sequence[int], Sequence[int]],
    chosen: Plan | None,
    conventions: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """All of a :class:`Comparison` but its values, and what is needed to get these from sums.

    Args:
        measure: The measure.
        subjects: What is compared.
        layers: Layer names of each subject.
        axes: Indices of the layers on the rows and on the columns, among all layers of all subjects.
        chosen: How sums are added up; None for measures that do not come from sums.
        conventions: Further conventions.
        seed: For the sample that sets a radial kernel's bandwidth.
    """
    rows, columns = axes
    names = [name for names in layers for name in names]
    models = [subject.name for subject, names in zip(subjects, layers, strict=True) for _ in names]
    declared = measure.facts
    options = {key: _described(key, value) for key, value in measure.options.items()}
    settled: dict[str, Any] = {**options, "pairs": "all", "route": "pairwise", **conventions}
    sampled = False
    if chosen is not None:
        settled |= {"pairs": chosen.pairs, "route": chosen.route, "plan": chosen.reason, "passes": chosen.passes}
        settled |= {"held_batches": chosen.held_batches, "precision": chosen.precision}
        kernel = kernel_of(measure)
        if isinstance(kernel, RBF | Laplace) and kernel.sigma is None:
            sampled = chosen.route != "batch"
            settled["bandwidth_examples"] = chosen.bandwidth_examples if sampled else "each batch"
    comparison = {
        "row_layers": [names[i] for i in rows],
        "column_layers": [names[i] for i in columns],
        "row_models": [models[i] for i in rows],
        "column_models": [models[i] for i in columns],
        "measure": measure.id,
        "kind": declared.kind,
        "range": list(declared.range),
        "symmetric": declared.symmetric,
        "conventions": settled,
        "versions": _versions(),
        "seeds": {"bandwidth": seed} if sampled else {},
        "details": {
            "references": list(measure.measure.references),
            "formula": measure.measure.formula,
            **({"metric": declared.metric_form} if declared.metric_form else {}),
        },
    }
    return {
        "comparison": comparison,
        "rows": list(rows),
        "columns": list(columns),
        "minimum_examples": declared.minimum_examples,
    }


def qualified(subjects: Sequence[Subject], layers: Sequence[Sequence[str]]) -> list[str]:
    """Layer names of all subjects for messages, with the subject's name where there are several."""
    several = len(subjects) > 1
    return [
        f"{subject.name}: {name}" if several else name
        for subject, names in zip(subjects, layers, strict=True)
        for name in names
    ]


def is_gram(measure: ConfiguredMeasure) -> bool:
    """Whether the measure is an inner product of Gram matrices."""
    return measure.id in ("cka", "hsic")


def kernel_of(measure: ConfiguredMeasure) -> Kernel:
    """The kernel of an inner product of Gram matrices."""
    return as_kernel(measure.options["kernel"], measure.id)


def divisible(measure: ConfiguredMeasure) -> bool:
    """Whether the measure comes from sums over tiles, which can be divided, kept and merged."""
    return is_gram(measure) and tileable(kernel_of(measure))


def describe_reduction(reduce: Any) -> Any:
    """A reduction as it is stored: names as they are, functions by their names."""
    if isinstance(reduce, str):
        return reduce
    if isinstance(reduce, Mapping):
        return {str(key): describe_reduction(value) for key, value in reduce.items()}
    return describe(reduce)


def _described(key: str, value: Any) -> Any:
    if key == "kernel":
        kernel = as_kernel(value)
        return kernel.name if isinstance(kernel, Linear | Cosine) else describe(kernel if _own(kernel) else value)
    return value if isinstance(value, str) else describe(value)


def _own(kernel: Kernel) -> bool:
    return kernel.name != "custom"


def _versions() -> dict[str, str]:
    """Versions of the libraries that took part."""
    versions = {"python": python_version(), "repscope": str(sys.modules["repscope"].__version__)}
    for module, package in _PACKAGES.items():
        if module in sys.modules:
            versions[package] = metadata.version(package)
    return versions
