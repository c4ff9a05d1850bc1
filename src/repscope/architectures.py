"""Claims about architectures: how alike are networks of one kind, with networks as the unit of replication?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from repscope._student import student_quantile
from repscope.comparison import Comparison
from repscope.errors import InputError
from repscope.inference.networks import standard_error, two_sided_p, welch_freedom, without_each


@dataclass(frozen=True)
class Agreement:
    """How alike the networks of one group are.

    Attributes:
        value: Mean score of a layer with the layer of the same name in another network of the group.
        standard_error: Jackknife standard error, one network left out at a time with all its pairs.
        networks: Their number.
    """

    value: float
    standard_error: float
    networks: int

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval over networks like these, by Student's t with one degree of freedom less than networks.

        Raises:
            InputError: ``level`` does not lie between 0 and 1.
        """
        if not 0 < level < 1:
            raise InputError(f"Agreement.interval: level must lie between 0 and 1, got {level!r}. 0.95 is usual.")
        width = student_quantile((1 + level) / 2, self.networks - 1) * self.standard_error
        return self.value - width, self.value + width

    def p_of_difference(self, other: Agreement) -> float:
        """Two-sided p-value of no difference to another group of other networks, by Welch's t-test of both errors."""
        errors = (self.standard_error, other.standard_error)
        freedom = welch_freedom(errors, (self.networks, other.networks))
        size = max(abs(self.value), abs(other.value))
        return two_sided_p(self.value - other.value, math.hypot(*errors), freedom, size)


def agreement(comparison: Comparison, groups: Mapping[str, Sequence[str]]) -> dict[str, Agreement]:
    """How alike the networks of each group are, and how sure that is for further networks of the kind.

    The standard errors of a comparison are about examples: they say how the score of *these* networks would move on
    others. Whether one architecture agrees with itself more than another needs several networks of each.

    Args:
        comparison: All networks with all: ``compare({"vgg 1": ..., "vgg 2": ..., ...}, data=...)``.
        groups: Names of the models of each group; no model is in two of them.

    Returns:
        An :class:`Agreement` for each group.

    Raises:
        InputError: A group has fewer than three networks, a name is unknown or in two groups, or the networks of a
            group do not have layers of the same names.

    Example:
        >>> import numpy as np, repscope
        >>> rng = np.random.default_rng(0)
        >>> shared = rng.standard_normal((100, 4))
        >>> nets = {f"net {i}": {"layer": shared + rng.standard_normal((100, 4))} for i in range(4)}
        >>> found = repscope.agreement(repscope.compare(nets), {"kind": list(nets)})["kind"]
        >>> found.networks, round(found.value, 1)
        (4, 0.2)
    """
    members = [name for names in groups.values() for name in names]
    for name in members:
        if name not in comparison.row_models or name not in comparison.column_models:
            raise InputError(f"agreement: groups must name models of the comparison, got {name!r}.")
        if members.count(name) > 1:
            raise InputError(f"agreement: groups must not share a network, got {name!r} twice.")
    return {group: _within(comparison, group, list(names)) for group, names in groups.items()}


def _within(comparison: Comparison, group: str, names: list[str]) -> Agreement:
    m = len(names)
    scores = np.full((m, m), np.nan)
    for i, first in enumerate(names):
        for j, second in enumerate(names):
            block = comparison.between(first, second)
            if block.row_layers != block.column_layers:
                raise InputError(
                    f"agreement: networks of group {group!r} must have layers of the same names, got others in "
                    f"{first!r} and {second!r}. Choose them with layers=."
                )
            scores[i, j] = np.diag(block.values).mean()

    def mean(chosen: np.ndarray) -> float:
        among = scores[np.ix_(chosen, chosen)]
        return float(among[~np.eye(len(chosen), dtype=bool)].mean())

    replicates = without_each(mean, m, "agreement")
    return Agreement(mean(np.arange(m)), standard_error(replicates), m)
