"""What a study brings home: tables, pictures, claims and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from repscope.studies.claims import Claim

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """Numbers in rows, the paper's beside ours.

    Attributes:
        title: What is in it, with the unit.
        columns: Headings.
        rows: One :data:`Cell` for each heading; None where there is no number.
        note: What the reader must know to read it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """One figure, and the paper's drawn from its numbers where these are known.

    Attributes:
        name: Name of the files, without suffix.
        caption: What is seen, in a sentence.
        figure: Ours.
        paper: The paper's, in the same layout.
    """

    name: str
    caption: str
    figure: Figure
    paper: Figure | None = None


@dataclass(frozen=True)
class Findings:
    """The outcome of a study.

    Attributes:
        tables: Tables, the most important first.
        pictures: Figures, in the paper's order.
        claims: What the paper says, tested.
        numbers: Everything computed, as values of JSON (arrays are written as lists).
        notes: What the reader must know before believing it.
    """

    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    claims: Sequence[Claim] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
