"""Centered kernel alignment (eq. 4 of Kornblith et al. 2019), biased and unbiased."""

from __future__ import annotations

import array_api_compat

from repscope.measures import hsic as _hsic
from repscope.measures._arrays import Array, check_pair, undefined
from repscope.measures.kernels import Estimator, KernelLike, as_kernel, check_estimator, minimum_examples

prepare = _hsic.prepare


def score(state_x: _hsic.State, state_y: _hsic.State) -> Array:
    """CKA of two prepared layers; NaN with a warning where one of them is constant."""
    products = _hsic.products(state_x, state_y)
    for name, vanishes in zip(("x", "y"), products.vanishing, strict=True):
        if vanishes:
            alike = f"all rows of {name} are equal, or alike to this kernel"
            if state_x.estimator == "unbiased":
                alike += ": equally far apart, or equal but for one"
            return undefined("cka", f"{alike} (0/0).", products.both)
    xp = array_api_compat.array_namespace(products.both)
    # The root of each factor, not of their product: the product may leave the range of float32.
    return products.both / (xp.sqrt(products.x) * xp.sqrt(products.y))


def cka(x: Array, y: Array, *, kernel: KernelLike = "linear", estimator: Estimator = "unbiased") -> Array:
    """Centered kernel alignment of two representations of the same examples.

    CKA(K, L) = HSIC(K, L) / √(HSIC(K, K) · HSIC(L, L)). Linear and biased this is
    ‖YᵀX‖_F² / (‖XᵀX‖_F ‖YᵀY‖_F), the RV coefficient.

    Which definition: ``estimator="unbiased"`` (default) takes HSIC₁ of Song et al. in all three places (the
    "debiased CKA" of the authors' notebook and of Nguyen et al. 2021), computed by U-centring; it is 0 on average for
    unrelated data and may be slightly negative. ``estimator="biased"`` is the 2019 paper; unrelated Gaussian data
    score √(pq / ((n+p)(n+q))), 0.84 at n = 64, p = 512, q = 256. The masked cosine that some packages call unbiased
    is a third number.

    Range: [0, 1] biased, [−1, 1] unbiased; 1 means equal up to rotation, scale and translation. Nothing is clamped
    and nothing added to a denominator. Invariances: orthogonal maps, isotropic scaling and translation (those of the
    kernel where it is not linear); not invertible linear maps. Symmetric. Not a metric; its arc
    cosine is one (:func:`repscope.angular_cka`).

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples, same array library and device.
        kernel: ``"linear"``, ``"rbf"``, ``"laplace"``, ``"polynomial"``, ``"cosine"``, a kernel such as
            ``RBF(0.4)``, or a callable (n, p) → (n, n).
        estimator: ``"unbiased"`` (needs n ≥ 4) or ``"biased"``.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where a representation is constant. Torch gradients
        flow through it.

    Raises:
        InputError: For arrays that do not match, too few examples, or NaN and infinity.

    References:
        Kornblith et al. 2019, eq. 4; Nguyen et al. 2021; Murphy et al. 2024 (why unbiased).

    Example:
        >>> import numpy as np
        >>> rng = np.random.RandomState(1337)
        >>> x = rng.randn(100, 10)
        >>> y = rng.randn(100, 10) + x
        >>> round(float(cka(x, y)), 6), round(float(cka(x, y, estimator="biased")), 6)
        (0.513456, 0.557613)
    """
    check_estimator("cka", estimator)
    kernel = as_kernel(kernel, "cka")
    x, y = check_pair("cka", x, y, minimum_examples=minimum_examples(estimator))
    return score(*_hsic.prepare_pair(x, y, kernel=kernel, estimator=estimator))
