"""What the paper says, as inequalities between computed numbers, so that no verdict is written by hand."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

HOLDS, FAILS, UNTESTED = "holds", "does not hold", "not tested at this scale"

Relation = Literal["≥", "≤", ">", "<"]
_RELATIONS = {"≥": operator.ge, "≤": operator.le, ">": operator.gt, "<": operator.lt}


@dataclass(frozen=True)
class Check:
    """One inequality.

    Attributes:
        what: What the number is, in words.
        value: The computed number; NaN fulfils nothing.
        relation: How it must stand to ``bound``.
        bound: A number of the claim, or another computed one.
        against: What the bound is, in words; empty where it is a number of the claim.
        paper: The paper's own value of the number, where it is known.
    """

    what: str
    value: float
    relation: Relation
    bound: float
    against: str = ""
    paper: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the inequality is true."""
        return bool(_RELATIONS[self.relation](self.value, self.bound))

    def __str__(self) -> str:
        bound = f"{self.against} {figure(self.bound)}" if self.against else figure(self.bound)
        paper = f" (paper: {figure(self.paper)})" if self.paper is not None else ""
        return f"{self.what} {figure(self.value)}{paper} {self.relation} {bound}"


@dataclass(frozen=True)
class Claim:
    """One statement of the paper and what was computed about it.

    Attributes:
        text: The statement.
        source: Where the paper makes it.
        checks: Inequalities that all have to be true for it to hold.
        untested: Why it cannot be tested here; empty where it is.
    """

    text: str
    source: str
    checks: tuple[Check, ...] = ()
    untested: str = ""

    @property
    def verdict(self) -> str:
        """``"holds"``, ``"does not hold"`` or ``"not tested at this scale"``."""
        if self.untested or not self.checks:
            return UNTESTED
        return HOLDS if all(check.holds for check in self.checks) else FAILS

    @property
    def evidence(self) -> str:
        """The numbers, and why nothing follows from them where nothing does."""
        numbers = "; ".join(map(str, self.checks))
        return " — ".join(part for part in (self.untested, numbers) if part)

    def to_json(self) -> dict[str, Any]:
        """Everything as values of JSON."""
        return {
            "claim": self.text,
            "source": self.source,
            "verdict": self.verdict,
            "untested because": self.untested or None,
            "checks": [
                {
                    "what": check.what,
                    "value": check.value if math.isfinite(check.value) else None,
                    "relation": check.relation,
                    "bound": check.bound if math.isfinite(check.bound) else None,
                    "against": check.against or None,
                    "paper": check.paper,
                    "holds": check.holds,
                }
                for check in self.checks
            ],
        }


def count_verdicts(claims: Sequence[Claim]) -> dict[str, int]:
    """How many claims have each verdict, in the order holds, does not hold, not tested."""
    verdicts = [claim.verdict for claim in claims]
    return {verdict: verdicts.count(verdict) for verdict in (HOLDS, FAILS, UNTESTED)}


def figure(value: float | None) -> str:
    """A number with three significant places after the point, or fewer where they say nothing."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "undefined" if math.isnan(value) else str(value)
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.3f}" if 1e-3 <= abs(value) < 100 else f"{value:.1f}" if 100 <= abs(value) < 1e6 else f"{value:.1e}"


def percent(share: float) -> str:
    """A share as per cent with one decimal, without the sign."""
    return "–" if math.isnan(share) else f"{100 * share:.1f}"
