"""What a measure is: two functions, what is declared about them, and the options that settle it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from repscope.measures._arrays import Array
from repscope.measures._decomposition import Decomposition
from repscope.measures.kernels import Kernel


class Invariance(StrEnum):
    """A transformation of one representation that leaves the score as it is (§2 of the 2019 paper)."""

    PERMUTATION = "permutation"
    """Reordering the features."""
    ORTHOGONAL = "orthogonal"
    """Rotations and reflections of feature space; contains the permutations."""
    ISOTROPIC_SCALING = "isotropic scaling"
    """Multiplying all features by one positive number."""
    TRANSLATION = "translation"
    """Adding one vector to all examples."""
    INVERTIBLE_LINEAR = "invertible linear"
    """Any invertible linear map of feature space; contains the orthogonal maps and scaling."""


@dataclass(frozen=True)
class Chance:
    """What two unrelated layers score on average; held against draws of independent normal features by the tests.

    Attributes:
        formula: In n examples and widths p and q, as text.
        level: The same as a function of (n, p, q).
        of: Whether it is the score, or the cosine of a score that is an angle.
        at_least: The formula is a lower bound.
    """

    formula: str
    level: Callable[[int, int, int], float]
    of: Literal["the score", "its cosine"] = "the score"
    at_least: bool = False

    @property
    def text(self) -> str:
        """In words, such as ``at least √(…) (its cosine)``."""
        return f"{'at least ' * self.at_least}{self.formula}{f' ({self.of})' * (self.of != 'the score')}"


@dataclass(frozen=True)
class Facts:
    """What is declared about a measure with given options, and held (or broken on a witness) by the tests.

    Attributes:
        kind: ``"similarity"`` (large means alike) or ``"distance"``.
        range: Smallest and largest possible value.
        symmetric: Whether score(x, y) = score(y, x).
        metric: Whether it satisfies the axioms of a metric on equivalence classes.
        invariances_x: Transformations of the first argument that change nothing.
        invariances_y: Transformations of the second argument that change nothing.
        minimum_examples: Smallest n that is accepted.
        metric_through: The function of the score that is a metric where the score itself is none, if there is one.
        chance: What unrelated layers of independent features score, where a closed form is known.
    """

    kind: Literal["similarity", "distance"]
    range: tuple[float, float]
    symmetric: bool
    metric: bool
    invariances_x: frozenset[Invariance]
    invariances_y: frozenset[Invariance]
    minimum_examples: int
    metric_through: Literal["arccos", "square root"] | None = None
    chance: Chance | None = None

    @property
    def metric_form(self) -> str | None:
        """What of the score is a metric, in words; None where nothing is declared to be one."""
        if self.metric:
            return "the score"
        return None if self.metric_through is None else f"{self.metric_through} of the score"


class Unpaired:
    """A prepared layer of a measure to which the order of the examples means nothing."""


@dataclass(frozen=True)
class Measure:
    """One row of the catalogue.

    Attributes:
        id: Public name, as in ``repscope.score(id, x, y)``.
        title: Full name.
        formula: In one line, for centred X and Y.
        function: The public function of two representations.
        prepare: From a checked representation to a state, once per layer.
        score: From two states to a scalar, once per pair.
        prepare_options: Options of ``prepare`` with their defaults.
        score_options: Options of ``score`` with their defaults.
        facts: The declared facts for given options; refuses options that do not exist.
        variants: Options worth listing; every test of the catalogue runs over them.
        cost: Arithmetic for one pair with n examples and widths p, q.
        references: Where the definition comes from.
        decomposes: ``prepare`` takes a ``decomposition=`` made before, the costly part, which measures share.
    """

    id: str
    title: str
    formula: str
    function: Callable[..., Array]
    prepare: Callable[..., Any]
    score: Callable[..., Array]
    facts: Callable[[Mapping[str, Any]], Facts]
    cost: str
    references: tuple[str, ...]
    prepare_options: Mapping[str, Any] = field(default_factory=dict)
    score_options: Mapping[str, Any] = field(default_factory=dict)
    variants: tuple[Mapping[str, Any], ...] = ({},)
    decomposes: bool = False

    @property
    def options(self) -> Mapping[str, Any]:
        """All options with their defaults."""
        return {**self.prepare_options, **self.score_options}


@dataclass(frozen=True)
class ConfiguredMeasure:
    """A measure with all of its options settled; what the conductor, the plots and the tests work with."""

    measure: Measure
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Catalogue id."""
        return self.measure.id

    @property
    def label(self) -> str:
        """Id and the options that differ from the defaults, such as ``cka(estimator='biased', kernel=RBF(0.4))``."""
        changed = {k: v for k, v in self.options.items() if v != self.measure.options[k]}
        if not changed:
            return self.id
        return f"{self.id}({', '.join(f'{k}={describe(v)}' for k, v in sorted(changed.items()))})"

    @property
    def facts(self) -> Facts:
        """The declared facts for these options."""
        return self.measure.facts(self.options)

    def prepare(self, x: Array, *, decomposition: Decomposition | None = None) -> Any:
        """Prepare one checked representation."""
        options = {k: self.options[k] for k in self.measure.prepare_options}
        if self.measure.decomposes:
            options["decomposition"] = decomposition
        return self.measure.prepare(x, **options)

    @property
    def preparation(self) -> tuple[Any, ...]:
        """A key that two configured measures share when one preparation serves both."""
        options = (self.options[k] for k in sorted(self.measure.prepare_options))
        # Two callables may share their name: each is itself only.
        return (self.measure.prepare, *(v if isinstance(v, Kernel | str | float | int) else id(v) for v in options))

    def score(self, state_x: Any, state_y: Any) -> Array:
        """Score two prepared representations."""
        return self.measure.score(state_x, state_y, **{k: self.options[k] for k in self.measure.score_options})

    def __call__(self, x: Array, y: Array) -> Array:
        """Check and score two representations."""
        return self.measure.function(x, y, **self.options)


def describe(value: Any) -> str:
    """An option's value as it is printed and stored: kernels by their definition, the rest by repr."""
    if isinstance(value, Kernel):
        return repr(value)
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}"
    return repr(value)
