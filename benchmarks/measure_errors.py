"""How far is each measure from its slow reference, and from the values that others have published?

    python -m benchmarks.measure_errors [--only cka …] [--out FILE]

Every row of the catalogue with every option listed there, against the loops of tests/reference, which share no code
with it, over the shapes of the tests: n from 5 to 30, widths from 1 to 30 on either side, features of unequal scale
with offsets. In single precision the reference gets the same rounded numbers in double precision. Then the published
values. From the root of the repository; some two minutes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

import repscope
from benchmarks.tables import Table, parser
from repscope.measures.catalog import CATALOG
from repscope.measures.measure import ConfiguredMeasure
from tests.measures.examples import ALL, NARROW, WIDE, fitting, needs_many_examples, pair, reference_score

Pair = tuple[np.ndarray, np.ndarray]

ROUNDING = 1e-12
"""Of double precision, after some thousands of operations."""

IRIS = Path("tests/data/iris.csv")


@dataclass(frozen=True)
class Published:
    """A number that others printed.

    Attributes:
        source: Who printed it.
        what: Of which measure, on what.
        printed: As it stands there; its digits are how exactly it is known.
        compute: Ours.
        note: Why more of its digits cannot be had.
    """

    source: str
    what: str
    printed: str
    compute: Callable[[], float]
    note: str = ""


def errors(measure: ConfiguredMeasure, dtype: type) -> tuple[float, float]:
    """The largest absolute error over the shapes, and the largest as a share of the value where that is not tiny."""
    absolute = relative = 0.0
    for n, p, q in [*NARROW, *([] if needs_many_examples(measure) else WIDE)]:
        x, y = pair(fitting(measure, n), p, q, dtype=dtype)
        expected = reference_score(measure, x.astype(np.float64), y.astype(np.float64))
        error = abs(float(measure(x, y)) - expected)
        absolute = max(absolute, error)
        if abs(expected) > 1e-3:
            relative = max(relative, error / abs(expected))
    return absolute, relative


def notebook() -> Pair:
    generator = np.random.RandomState(1337)
    x = generator.randn(100, 10)
    return x, generator.randn(100, 10) + x


def repository() -> Pair:
    generator = np.random.RandomState(0)
    return generator.uniform(size=(30, 25)), generator.uniform(size=(30, 25))


def uniform_noise(features: int) -> Pair:
    """1,024 examples of 1,024 features, and of one of the numbers of features that are drawn one after the other."""
    generator = np.random.RandomState(2024)
    x = generator.rand(1024, 1024)
    drawn = (generator.rand(1024, d) for d in np.geomspace(10, 250_000, 50).astype(int))
    return x, next(y for y in drawn if y.shape[1] == features)


def irises(one: int, other: int) -> Pair:
    table = np.loadtxt(IRIS, delimiter=",", skiprows=1)
    return table[:, [one]], table[:, [other]]


def published() -> Iterator[Published]:
    def ours(measure: str, inputs: Callable[[], Pair], **options: object) -> Callable[[], float]:
        return lambda: float(repscope.score(measure, *inputs(), **options))

    demo = "Kornblith et al. 2019, notebook"
    for printed, options in (
        ("0.55761", {"estimator": "biased"}),
        ("0.65483", {"estimator": "biased", "kernel": repscope.RBF(0.5)}),
        ("0.51346", {"estimator": "unbiased"}),
    ):
        kernel = "RBF 0.5" if "kernel" in options else "linear"
        yield Published(demo, f"cka, {kernel}, {options['estimator']}", printed, ours("cka", notebook, **options))
    table = "Similarity Repository, metric_vs_repo.csv"
    for measure, printed, options in (
        ("cka", "0.48934273910441527", {"estimator": "biased"}),
        ("cka", "0.0235986985805671", {}),
        ("procrustes", "0.7227787", {"kind": "cosine"}),
        ("cca", "0.8583001", {"summary": "r2"}),
        ("cca", "0.8901050", {"summary": "mean"}),
        ("gulp", "7.0849929", {"regularization": 0.0}),
        ("distance_correlation", "0.8852697", {"estimator": "biased"}),
        ("angular_cka", "1.0594603937845422", {}),
        ("shape_distance", "0.47322087985030586", {"alpha": 0.0}),
        ("permutation_procrustes", "1.2298287595147774", {}),
        ("permutation_procrustes", "9.066236076125277", {"kind": "distance"}),
        ("aligned_cosine", "0.7205820248107223", {}),
        ("correlation_matching", "0.3363914592542919", {}),
        ("correlation_matching", "0.3761355416924346", {"assignment": "soft"}),
        ("rv2", "0.05334", {}),
        ("pwcca", "0.893341", {}),
    ):
        said = ", ".join(f"{key}={value!r}" for key, value in options.items())
        what = f"{measure}({said})" if said else measure
        note = "correlations tied at 1, whose weights depend on the basis" if measure == "pwcca" else ""
        yield Published(table, what, printed, ours(measure, repository, **options), note)
    names = ("sepal length", "sepal width", "petal length", "petal width")
    for one, other, printed in (
        (0, 2, ".859"),
        (0, 3, ".827"),
        (0, 1, ".311"),
        (1, 2, ".542"),
        (1, 3, ".513"),
        (2, 3, ".974"),
    ):
        inputs = lambda i=one, j=other: irises(i, j)  # noqa: E731
        what = f"distance_correlation(estimator='biased'), {names[one]} × {names[other]}"
        yield Published(
            "R package energy, iris", what, f"0{printed}", ours("distance_correlation", inputs, estimator="biased")
        )
    for features, printed in ((10, "0.0699"), (17_027, "0.6873")):
        noise = ours("cka", partial(uniform_noise, features), estimator="biased")
        what = f"cka(estimator='biased'), 1,024 × {features:,} features"
        yield Published("Murphy et al. 2024, Fig. 1", what, printed, noise)


def half_of_last_digit(number: str) -> float:
    """Of a printed number."""
    return 0.5 * 10.0 ** -len(number.partition(".")[2])


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument(
        "--only", nargs="*", choices=list(CATALOG), metavar="ID", help="measures, without the published values"
    )
    given = arguments.parse_args()
    warnings.simplefilter("ignore")
    table = Table(given.out)
    table.text("Largest error against the slow reference: absolute, and relative to values above 0.001.")
    table.head("measure", "float64", "relative", "float32", "relative")
    for measure in ALL:
        if given.only is None or measure.id in given.only:
            found = (*errors(measure, np.float64), *errors(measure, np.float32))
            table.row(measure.label.replace("|", "\\|"), *(f"{error:.0e}" for error in found))
    if given.only is not None:
        return
    table.text()
    table.text(
        f"Published values, and ours: equal to half of the last digit printed, or to {ROUNDING:g} where it has more."
    )
    table.head("source", "what", "printed", "ours", "difference", "equal")
    for one in published():
        value = one.compute()
        difference = abs(value - float(one.printed))
        equal = difference <= max(half_of_last_digit(one.printed), ROUNDING)
        said = "yes" if equal else f"no: {one.note}" if one.note else "no"
        table.row(one.source, one.what, one.printed, f"{value:.10g}", f"{difference:.0e}", said)


if __name__ == "__main__":
    main()
