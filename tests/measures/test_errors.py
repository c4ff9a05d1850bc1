"""Bad input is refused in words that name the call, the argument, what was got and the remedy."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import repscope
from repscope import RBF, Cosine, InputError, Kernel, Laplace, Linear, Polynomial
from repscope.measures.catalog import CATALOG, configure
from tests.measures.examples import pair

FUNCTIONS = {
    "hsic": repscope.hsic,
    "cka": repscope.cka,
    "canonical_correlations": repscope.canonical_correlations,
    "cca": repscope.cca,
    "svcca": repscope.svcca,
    "pwcca": repscope.pwcca,
    "linear_regression": repscope.linear_regression,
    "procrustes": repscope.procrustes,
    "shape_distance": repscope.shape_distance,
    "angular_cka": repscope.angular_cka,
    "aligned_cosine": repscope.aligned_cosine,
    "permutation_procrustes": repscope.permutation_procrustes,
    "correlation_matching": repscope.correlation_matching,
    "soft_matching": repscope.soft_matching,
    "canonical_ridge": lambda x, y: repscope.canonical_ridge(x, y, kappa_x=1.0, kappa_y=1.0),
}

X, Y = pair(30, 4, 6)


def refuses(call, *words):
    """The call raises InputError with all of these words, one after the other."""
    with pytest.raises(InputError, match=".*".join(re.escape(word) for word in words)):
        call()


@pytest.mark.parametrize("name", FUNCTIONS)
class TestEveryFunction:
    def test_different_numbers_of_examples(self, name):
        refuses(
            lambda: FUNCTIONS[name](X, Y[:20]),
            f"{name}: x and y must have the same number of rows (the same examples in the same order)",
            "got (30, 4) and (20, 6). Rows are examples, columns are features.",
        )

    @pytest.mark.parametrize("side", ["x", "y"])
    def test_one_dimension(self, name, side):
        arrays = {"x": X, "y": Y} | {side: X[:, 0]}
        refuses(
            lambda: FUNCTIONS[name](**arrays) if name != "canonical_ridge" else FUNCTIONS[name](*arrays.values()),
            f"{name}: {side} must be a matrix (examples, features), got shape (30,). Reshape it to (n, 1)",
        )

    def test_three_dimensions(self, name):
        refuses(
            lambda: FUNCTIONS[name](X, np.zeros((30, 2, 3))),
            f"{name}: y must be a matrix (examples, features), got shape (30, 2, 3). Flatten each example to one row.",
        )

    def test_a_scalar(self, name):
        refuses(lambda: FUNCTIONS[name](np.asarray(3.0), Y), f"{name}: x must be a matrix", "got shape ().")

    @pytest.mark.parametrize("shape", [(0, 3), (30, 0), (0, 0)], ids=str)
    def test_nothing(self, name, shape):
        refuses(
            lambda: FUNCTIONS[name](np.zeros(shape), np.zeros(shape)),
            f"{name}: x must have at least one row and one column, got shape {shape}.",
        )

    def test_too_few_examples(self, name):
        fewest = 4 if name in ("hsic", "cka") else 2
        refuses(
            lambda: FUNCTIONS[name](X[: fewest - 1], Y[: fewest - 1]),
            f"{name}: x must have at least {fewest} rows (examples), got shape ({fewest - 1}, 4).",
            "Use more examples, or check that rows are examples and columns features.",
        )

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_not_finite(self, name, value):
        bad = Y.copy()
        bad[7, 2] = value
        refuses(
            lambda: FUNCTIONS[name](X, bad),
            f"{name}: y must be finite, got {value} in row 7, column 2. Remove or repair",
        )

    def test_several_bad_columns(self, name):
        bad = X.copy()
        bad[3, 1] = math.nan
        bad[:, 2:] = math.inf
        refuses(lambda: FUNCTIONS[name](bad, Y), f"{name}: x must be finite, got nan in row 3, column 1 (and 2 more")

    def test_lists(self, name):
        refuses(
            lambda: FUNCTIONS[name](X.tolist(), Y),
            f"{name}: x must be an array (numpy, torch, JAX or another Array-API library), got builtins.list.",
            "Convert it first, for example with numpy.asarray.",
        )

    def test_complex_numbers(self, name):
        refuses(
            lambda: FUNCTIONS[name](X + 0j, Y),
            f"{name}: x must be real, got dtype complex128. Compare real and imaginary parts as separate columns.",
        )

    @pytest.mark.parametrize("dtype", ["object", "U8", "datetime64[s]"])
    def test_other_types(self, name, dtype):
        bad = np.zeros((30, 2)).astype(dtype)
        refuses(lambda: FUNCTIONS[name](X, bad), f"{name}: y must be numeric, got dtype", "Convert it to float32")

    def test_masked_arrays(self, name):
        refuses(
            lambda: FUNCTIONS[name](X, np.ma.masked_greater(Y, 1.0)),
            f"{name}: y must be an array",
            "got numpy.ma.MaskedArray",
        )

    @pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
    def test_matrices_of_numpy(self, name):
        refuses(lambda: FUNCTIONS[name](np.matrix(X), Y), f"{name}: x must be an array", "got numpy.matrix")

    def test_sparse_tensors(self, name):
        torch = pytest.importorskip("torch")
        dense = torch.tensor(X)
        refuses(lambda: FUNCTIONS[name](dense, dense.to_sparse()), f"{name}: y must be an array", "got torch.Tensor")

    def test_mixed_libraries(self, name):
        torch = pytest.importorskip("torch")
        refuses(
            lambda: FUNCTIONS[name](torch.from_numpy(X.copy()), Y),
            f"{name}: x and y must come from the same array library, got torch.Tensor and numpy.ndarray. Convert one",
        )

    def test_mixed_devices(self, name):
        torch = pytest.importorskip("torch")
        refuses(
            lambda: FUNCTIONS[name](torch.from_numpy(X.copy()), torch.zeros(30, 6, device="meta")),
            f"{name}: x and y must be on the same device, got cpu and meta. Move one of them first.",
        )


def test_biased_estimates_take_two_examples():
    for call in (repscope.hsic, repscope.cka):
        assert np.isfinite(call(X[:2], Y[:2], estimator="biased"))
        refuses(lambda call=call: call(X[:1], Y[:1], estimator="biased"), "x must have at least 2 rows")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: repscope.cka(X, Y, estimator="unbaised"),
            ("cka: estimator must be one of 'unbiased', 'biased', got 'unbaised'. Did you mean 'unbiased'?",),
        ),
        (lambda: repscope.hsic(X, Y, estimator=None), ("hsic: estimator must be one of", "got None.")),
        (
            lambda: repscope.cka(X, Y, kernel="rfb"),
            ("cka: kernel must be one of 'linear', 'rbf', 'laplace', 'polynomial', 'cosine' or a kernel such as",
             "got 'rfb'. Did you mean 'rbf'?"),
        ),
        (lambda: repscope.hsic(X, Y, kernel="gauss"), ("hsic: kernel must be one of", "got 'gauss'.")),
        (lambda: repscope.cka(X, Y, kernel=0.4), ("cka: kernel must be one of", "got 0.4.")),
        (lambda: repscope.cka(X, Y, kernel=RBF), ("cka: kernel must be one of", "got <class")),
        (
            lambda: repscope.cca(X, Y, summary="means"),
            ("cca: summary must be one of 'r2', 'mean', got 'means'. Did you mean 'mean'?",),
        ),
        (lambda: repscope.svcca(X, Y, summary="R2"), ("svcca: summary must be one of", "got 'R2'. Did you mean 'r2'?")),
        (
            lambda: repscope.svcca(X, Y, variance=99),
            ("svcca: variance must be a share in (0, 1], got 99. Use 0.99, for example.",),
        ),
        (lambda: repscope.svcca(X, Y, variance=0), ("svcca: variance must be a share in (0, 1], got 0.",)),
        (lambda: repscope.svcca(X, Y, variance=math.nan), ("svcca: variance must be a share in (0, 1], got nan.",)),
        (
            lambda: repscope.procrustes(X, Y, kind="angel"),
            ("procrustes: kind must be one of 'angle', 'distance', 'squared', 'cosine', got 'angel'.",
             "Did you mean 'angle'?"),
        ),
        *(
            (
                lambda alpha=alpha: repscope.shape_distance(X, Y, alpha=alpha),
                ("shape_distance: alpha must be from 0 (any linear map, as CCA) to 1 (rotations, as Procrustes),",
                 f"got {alpha!r}."),
            )
            for alpha in (-0.1, 1.5, math.nan, "1", True)
        ),
        (
            lambda: repscope.canonical_ridge(X, Y, kappa_x=-1.0, kappa_y=0.0),
            ("canonical_ridge: kappa_x must not be negative, got -1.0. Use 0 for plain CCA.",),
        ),
        (
            lambda: repscope.canonical_ridge(X, Y, kappa_x=1.0, kappa_y=math.nan),
            ("canonical_ridge: kappa_y must not be negative, got nan.",),
        ),
        (
            lambda: repscope.canonical_ridge(X, Y, kappa_x=1.0, kappa_y=1.0, normalizer="fill"),
            ("canonical_ridge: normalizer must be one of 'matched', 'truncated', 'full', got 'fill'.",
             "Did you mean 'full'?"),
        ),
        (
            lambda: repscope.score("ckaa", X, Y),
            ("configure: measure must be one of 'cka'", "got 'ckaa'. Did you mean 'cka'?"),
        ),
        (lambda: repscope.score(3, X, Y), ("configure: measure must be one of", "got 3.")),
        (
            lambda: repscope.score("cka", X, Y, kernels="rbf"),
            ("cka: options must be among kernel, estimator, got 'kernels'. Did you mean 'kernel'?",),
        ),
        (lambda: repscope.score("pwcca", X, Y, top=3), ("pwcca: options must be among none, got 'top'.",)),
        (
            lambda: configure(configure("cka"), estimator="biased"),
            ("configure: options must be given with an id, not with a measure configured before.",),
        ),
        (lambda: RBF(0), ("RBF: fraction must be positive and finite, got 0. Use 0.4, for example.",)),
        (lambda: RBF(math.inf), ("RBF: fraction must be positive and finite, got inf.",)),
        (lambda: Laplace(-1.0), ("Laplace: fraction must be positive and finite, got -1.0.",)),
        (
            lambda: RBF(sigma=0.0),
            ("RBF: sigma must be positive and finite, got 0.0. Leave it out for the median rule.",),
        ),
        (
            lambda: RBF(median="offdiagonal"),
            ("RBF: median must be one of 'all', 'off-diagonal', got 'offdiagonal'. Did you mean 'off-diagonal'?",),
        ),
        (
            lambda: Polynomial(1),
            ("Polynomial: degree must be a whole number from 2, got 1. Degree 1 is the linear kernel.",),
        ),
        (lambda: Polynomial(2.5), ("Polynomial: degree must be a whole number from 2, got 2.5.",)),
        (
            lambda: Polynomial(constant=-1.0),
            ("Polynomial: constant must be finite and not negative, got -1.0. Use 1, for example.",),
        ),
        (
            lambda: Polynomial(gamma=0.0),
            ("Polynomial: gamma must be positive and finite, got 0.0. Leave it out for 1/p.",),
        ),
    ],
)  # fmt: skip
def test_options(call, words):
    refuses(call, *words)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("cka", {"estimator": "baised"}, "cka: estimator must be one of"),
        ("hsic", {"kernel": "gaus"}, "hsic: kernel must be one of"),
        ("cca", {"summary": "median"}, "cca: summary must be one of"),
        ("svcca", {"summary": "median"}, "svcca: summary must be one of"),
        ("svcca", {"variance": 1.5}, "svcca: variance must be a share"),
        ("procrustes", {"kind": "chord"}, "procrustes: kind must be one of"),
        ("permutation_procrustes", {"kind": "cosine"}, "permutation_procrustes: kind must be one of"),
        ("correlation_matching", {"assignment": "semi"}, "correlation_matching: assignment must be one of"),
        ("soft_matching", {"kind": "angle"}, "soft_matching: kind must be one of"),
        ("shape_distance", {"alpha": 2}, "shape_distance: alpha must be from 0"),
        ("canonical_ridge", {"kappa_x": -2}, "canonical_ridge: kappa_x must not be negative"),
        ("canonical_ridge", {"normalizer": "none"}, "canonical_ridge: normalizer must be one of"),
    ],
)
def test_a_wrong_value_is_refused_when_the_measure_is_configured(name, options, words):
    refuses(lambda: configure(name, **options), words)


def test_a_row_of_zeros_has_no_cosine():
    x = X.copy()
    x[5] = 0.0
    refuses(
        lambda: repscope.cka(x, Y, kernel="cosine"),
        "Cosine: every row must be non-zero, got zeros in row 5. Leave that example out,",
        "or use another kernel or metric.",
    )
    refuses(lambda: Cosine().gram(x), "got zeros in row 5")


def named_kernel(z):
    return z @ z.T


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (lambda z: z @ z[:5].T, ("must return a (30, 30) array for 30 examples, got (30, 5).",)),
        (lambda z: np.sum(z), ("must return a (30, 30) array for 30 examples, got ().",)),
        (lambda z: (z @ z.T).tolist(), ("must return an array of the library it was given, got list.",)),
        (lambda z: None, ("must return an array of the library it was given, got NoneType.",)),
        (lambda z: (z @ z.T) * np.inf, ("must return finite numbers, got",)),
        (lambda z: (z @ z.T) * np.nan, ("must return finite numbers, got nan. Scale the features first.",)),
        (lambda z: np.triu(z @ z.T), ("must return a symmetric array, got entries (i, j) and (j, i) that differ by",)),
    ],
)
def test_a_callable_kernel_is_checked(kernel, words):
    with np.errstate(invalid="ignore"):
        refuses(lambda: repscope.cka(X, Y, kernel=kernel), "kernel:", *words)


def test_a_kernel_of_ones_own_is_checked_and_serves():
    class Wide(Kernel):
        name = "wide"
        translation_invariant = False
        scale_invariant = False

        def gram(self, x):
            return x @ x[:2].T

    refuses(lambda: repscope.hsic(X, Y, kernel=Wide()), "kernel:", "must return a (30, 30) array")
    with pytest.raises(TypeError):
        Kernel()


def test_errors_are_value_errors_of_this_package():
    with pytest.raises(ValueError, match="same number of rows"):
        repscope.cka(X, Y[:20])
    assert issubclass(InputError, repscope.RepscopeError)


def test_nothing_is_refused_that_is_well():
    for name in CATALOG:
        assert np.isfinite(float(configure(name)(X, Y)))
    assert np.isfinite(repscope.cka(X, Y, kernel=Linear()))
    assert np.isfinite(repscope.cka(X, Y, kernel=named_kernel))


def test_finite_features_whose_sum_overflows_are_finite():
    large = np.full((30, 4), 3e38, dtype=np.float32)
    large[:, 1] = np.linspace(-3e37, 3e37, 30, dtype=np.float32)
    from repscope.measures._arrays import check_representation

    assert check_representation("cka", large) is large


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: repscope.svcca(X, Y, variance=None), "svcca: variance must be a share in (0, 1], got None."),
        (
            lambda: repscope.gulp(X, Y, regularization="a"),
            "gulp: regularization must be finite and not negative, got 'a'.",
        ),
        (
            lambda: repscope.canonical_ridge(X, Y, kappa_x=None, kappa_y=0.0),
            "canonical_ridge: kappa_x must not be negative, got None.",
        ),
        (
            lambda: repscope.linear_regression(X, Y, regularization="x"),
            "linear_regression: regularization must be finite",
        ),
        (lambda: RBF("a"), "RBF: fraction must be positive and finite, got 'a'."),
        (lambda: RBF(sigma="a"), "RBF: sigma must be positive and finite, got 'a'."),
        (lambda: repscope.Polynomial("2"), "Polynomial: degree must be a whole number from 2, got '2'."),
        (
            lambda: repscope.Polynomial(2, constant=None),
            "Polynomial: constant must be finite and not negative, got None.",
        ),
        (lambda: repscope.Polynomial(2, gamma="a"), "Polynomial: gamma must be positive and finite, got 'a'."),
        (
            lambda: repscope.compare_within({"x": X}, {"y": Y}, groups=np.array([0, "a"] * 15, dtype=object)),
            "groups must hold labels of one type, got int and str. Give whole numbers or names.",
        ),
        (
            lambda: repscope.permutation_test({"x": X}, {"y": Y}, permutations=19).calibrated("a"),
            "PermutationTest.calibrated: alpha must be from 0.05 (one of 20 scores) to 1, got a.",
        ),
        (
            lambda: repscope.disagreement(np.array([0, 1, 1])[:, None], np.array([0, 1, 1])),
            "disagreement: x must be classes (n,) or scores (n, C) of two classes or more, got shape (3, 1). Flatten",
        ),
    ],
    ids=range(12),
)
def test_options_of_a_wrong_type(call, words):
    refuses(call, words)


def test_numbers_of_numpy_are_numbers():
    assert repscope.mutual_knn(X, Y, k=np.int64(5)) == repscope.mutual_knn(X, Y, k=5)
    assert repscope.soft_matching(X, Y, mass=np.float32(0.5)) == repscope.soft_matching(X, Y, mass=0.5)
    assert repscope.linear_regression(X, Y, folds=np.int32(5)) == repscope.linear_regression(X, Y, folds=5)
    result = repscope.permutation_test({"x": X}, {"y": Y}, permutations=np.int64(19))
    assert result.calibrated(np.float64(0.1)).shape == (1, 1)
    refuses(lambda: repscope.mutual_knn(X, Y, k=np.float64(5)), "k must be a whole number from 1, got np.float64(5.0)")


def test_what_numpy_counts_with_can_be_saved(tmp_path):
    result = repscope.compare({"x": X}, {"y": Y}, measure="mutual_knn", k=np.int64(5))
    path = tmp_path / "result.npz"
    result.save(path)
    assert repscope.load(path).conventions["k"] == "5"
