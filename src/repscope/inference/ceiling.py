"""How well any model could explain the dissimilarities of a group of subjects (Nili et al. 2014)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repscope.errors import InputError
from repscope.measures._arrays import Array, check_representation, to_numpy
from repscope.measures._messages import check_names
from repscope.measures.crossnobis import Noise
from repscope.measures.rsa import Dissimilarity, RDMComparison, RDMState, check_options, prepare, ranks, score


@dataclass(frozen=True)
class NoiseCeiling:
    """Between which scores the best model of a group of subjects lies.

    Attributes:
        lower: Mean score of a subject with the mean of all others: what a model that knows the group would reach.
        upper: Mean score of a subject with the mean of all, itself among them: nothing scores more on average.
        subjects: Their names.
        lower_each: The score of each subject with the others (S,).
        upper_each: The score of each subject with all (S,).
    """

    lower: float
    upper: float
    subjects: tuple[str, ...]
    lower_each: npt.NDArray[np.float64]
    upper_each: npt.NDArray[np.float64]


def noise_ceiling(
    subjects: Mapping[str, Array] | Sequence[Array],
    *,
    rdm: Dissimilarity = "correlation",
    compare: RDMComparison = "spearman",
    repeats: int = 1,
    noise: Noise = "shrunk",
) -> NoiseCeiling:
    """Noise ceiling of :func:`rsa` with several subjects (people, animals, or networks of several seeds).

    A model is judged by the mean of ``rsa(model, subject)`` over the subjects. Since these differ from each other, no
    model reaches 1. The upper bound is the mean score of the one dissimilarity matrix that scores best, which is known:
    the mean of the subjects' matrices, each brought to the form in which the comparison is a product (ranked, centred,
    whitened, of unit length, as ``compare`` says). The lower bound leaves each subject out of the mean that it is
    compared with. A model between both explains all that the subjects share.

    Which convention: for ``"spearman"`` the mean of ranks is not ranked again, so that the upper bound is one of all
    matrices, ties or not; rsatoolbox ranks it. For ``"rho_a"`` it is ranked, which is what scores best there. For
    ``"tau_a"`` the best matrix is not known in closed form: use ``"rho_a"``.

    Args:
        subjects: Name of each subject to its representation (n, p_s), or (n·r, p_s) with repeats, of the same examples;
            or a list of two or more representations.
        rdm: As for :func:`rsa`.
        compare: As for :func:`rsa`, but for ``"tau_a"``.
        repeats: As for :func:`rsa`.
        noise: As for :func:`rsa`.

    Returns:
        A :class:`NoiseCeiling`.

    Raises:
        InputError: For fewer than two subjects, examples that do not match, ``"tau_a"``, a subject whose examples are
            all equally far apart, and as :func:`rsa`.

    References:
        Nili et al. 2014, A toolbox for representational similarity analysis; Schütt et al. 2023 (ρ_a).

    Example:
        >>> import numpy as np
        >>> rng = np.random.RandomState(0)
        >>> common = rng.randn(20, 5)
        >>> group = [common + 0.5 * rng.randn(20, 5) for _ in range(6)]
        >>> ceiling = noise_ceiling(group, rdm="euclidean")
        >>> model = np.mean([float(rsa(common, subject, rdm="euclidean")) for subject in group])
        >>> bool(ceiling.lower < model < ceiling.upper)
        True
    """
    options: dict[str, Any] = {"rdm": rdm, "compare": compare, "repeats": repeats, "noise": noise}
    fewest = check_options(options, function="noise_ceiling")
    if compare == "tau_a":
        raise InputError(
            "noise_ceiling: compare must have a best dissimilarity matrix that is known, got 'tau_a'. Use 'rho_a', "
            "which treats ties in the same way."
        )
    named = _named(subjects)
    checked = {
        name: check_representation("noise_ceiling", x, f"subject {name!r}", minimum_examples=fewest)
        for name, x in named.items()
    }
    rows = {name: int(x.shape[0]) for name, x in checked.items()}
    if len(set(rows.values())) > 1:
        raise InputError(
            "noise_ceiling: subjects must have the same number of rows (the same examples in the same order), got "
            f"{rows}. Leave out what some of them did not see."
        )
    states = {name: prepare(x, **options) for name, x in checked.items()}
    for name, state in states.items():
        if state.vanishes:
            raise InputError(
                f"noise_ceiling: the examples of subject {name!r} must differ, got equal ones, or all equally far "
                "apart. Leave this subject out."
            )
    entries = np.stack([to_numpy(state.entries) for state in states.values()])
    all_of_them = entries.sum(axis=0)
    upper = np.array([_score(entry, all_of_them, compare) for entry in entries])
    lower = np.array([_score(entry, all_of_them - entry, compare) for entry in entries])
    return NoiseCeiling(float(lower.mean()), float(upper.mean()), tuple(named), lower, upper)


def _named(subjects: Mapping[str, Array] | Sequence[Array]) -> dict[str, Array]:
    """Subjects by their names, or numbers from 1."""
    if isinstance(subjects, Mapping):
        check_names("noise_ceiling", "subjects", subjects)
        named = {str(name): x for name, x in subjects.items()}
    elif isinstance(subjects, Sequence) and not isinstance(subjects, str):
        named = {str(place): x for place, x in enumerate(subjects, start=1)}
    else:
        raise InputError(
            "noise_ceiling: subjects must be a mapping of names to representations, or a list of them, got "
            f"{type(subjects).__name__}. Give {{'first': x, 'second': y}}, for example."
        )
    if len(named) < 2:
        raise InputError(
            f"noise_ceiling: subjects must be two or more, got {len(named)}. The ceiling is what they have in common."
        )
    return named


def _score(entry: npt.NDArray[np.float64], pooled: npt.NDArray[np.float64], compare: RDMComparison) -> float:
    """The score of a subject with the mean of several."""
    if compare == "rho_a":
        both = (RDMState(z, compare, False) for z in (entry, ranks(np, pooled)))
        return float(score(*both))
    norm = float(np.linalg.norm(pooled))
    return float(entry @ pooled) / norm if norm else 0.0  # 0 of any direction: subjects that cancel
