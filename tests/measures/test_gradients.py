"""Torch gradients flow through HSIC, CKA, Procrustes and regression, and are right."""

from __future__ import annotations

import numpy as np
import pytest

import repscope
from repscope import RBF, Laplace, Polynomial
from repscope.measures import hsic
from tests.measures.examples import pair

torch = pytest.importorskip("torch")

KINDS = ("angle", "distance", "squared", "cosine")
KERNELS = ["linear", RBF(sigma=3.0), Laplace(sigma=3.0), Polynomial(2), "cosine"]


def tensors(n, p, q):
    return tuple(torch.from_numpy(z).requires_grad_() for z in pair(n, p, q))


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("measure", [repscope.hsic, repscope.cka], ids=["hsic", "cka"])
def test_hsic_and_cka(measure, kernel, estimator):
    x, y = tensors(9, 3, 2)
    assert torch.autograd.gradcheck(lambda a, b: measure(a, b, kernel=kernel, estimator=estimator), (x, y))


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize("form", ["gram", "features"])
def test_both_forms_of_linear_hsic(form, estimator):
    x, y = tensors(9, 3, 4)

    def value(a, b):
        return hsic.score(*(hsic.prepare(z, estimator=estimator, form=form) for z in (a, b)))

    assert torch.autograd.gradcheck(value, (x, y))


@pytest.mark.parametrize("shape", [(9, 3, 2), (9, 2, 3), (9, 3, 3), (5, 7, 2), (5, 2, 7)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_procrustes(kind, shape):
    x, y = tensors(*shape)
    assert torch.autograd.gradcheck(lambda a, b: repscope.procrustes(a, b, kind=kind), (x, y))


@pytest.mark.parametrize("shape", [(9, 3, 2), (9, 2, 3), (9, 3, 3), (5, 7, 2)], ids=str)
def test_angular_cka(shape):
    x, y = tensors(*shape)
    assert torch.autograd.gradcheck(repscope.angular_cka, (x, y))
    near = (x.detach() + 0.002 * x.detach() ** 2).requires_grad_()
    assert float(repscope.angular_cka(x, near).detach()) < 0.04  # where the matrices are subtracted
    assert torch.autograd.gradcheck(repscope.angular_cka, (x, near))


@pytest.mark.parametrize("shape", [(9, 3, 2), (9, 2, 3), (9, 3, 3), (5, 7, 2)], ids=str)
@pytest.mark.parametrize("kind", ["angle", "distance"])
def test_permutation_procrustes(kind, shape):
    x, y = tensors(*shape)
    assert torch.autograd.gradcheck(lambda a, b: repscope.permutation_procrustes(a, b, kind=kind), (x, y))


@pytest.mark.parametrize("shape", [(9, 3, 2), (9, 3, 3), (5, 4, 7)], ids=str)
def test_matchings_of_units(shape):
    x, y = tensors(*shape)
    for assignment in ("hard", "soft"):
        assert torch.autograd.gradcheck(
            lambda a, b, how=assignment: repscope.correlation_matching(a, b, assignment=how), (x, y)
        )
    for kind in ("distance", "correlation"):
        assert torch.autograd.gradcheck(lambda a, b, kind=kind: repscope.soft_matching(a, b, kind=kind), (x, y))


def test_a_constant_unit_has_gradients():
    x, y = (torch.from_numpy(z) for z in pair(9, 3, 2))
    x[:, 1] = 2.0
    x.requires_grad_()
    repscope.correlation_matching(x, y, assignment="soft").backward()
    assert bool(torch.all(torch.isfinite(x.grad)))
    assert float(torch.linalg.norm(x.grad)) > 0


@pytest.mark.parametrize("shape", [(9, 3, 2), (9, 2, 3), (9, 1, 1)], ids=str)
def test_linear_regression(shape):
    x, y = tensors(*shape)
    assert torch.autograd.gradcheck(repscope.linear_regression, (x, y))


@pytest.mark.parametrize(
    "call",
    [repscope.hsic, repscope.cka, repscope.procrustes, repscope.linear_regression],
    ids=["hsic", "cka", "procrustes", "linear_regression"],
)
@pytest.mark.parametrize("side", [0, 1])
def test_only_one_side_needs_a_gradient(call, side):
    arguments = [torch.from_numpy(z) for z in pair(9, 3, 2)]

    def value(z):
        return call(*[z if i == side else other for i, other in enumerate(arguments)])

    assert torch.autograd.gradcheck(value, (arguments[side].clone().requires_grad_(),))


@pytest.mark.parametrize("kernel", [RBF(0.5), Laplace(1.0)], ids=repr)
def test_the_median_bandwidth_is_a_constant_to_the_gradient(kernel):
    x, y = tensors(9, 3, 2)
    repscope.cka(x, y, kernel=kernel).backward()

    def fixed(z):
        centered = z - z.mean(axis=0)
        squared = np.sum((centered[:, None] - centered[None]) ** 2, axis=2)
        return float(kernel.fraction * np.sqrt(np.median(squared)))

    arrays = [z.detach().numpy().copy() for z in (x, y)]
    sigmas = [fixed(z) for z in arrays]
    step = 1e-6
    for row, column in ((0, 0), (4, 2), (8, 1)):
        values = []
        for sign in (1, -1):
            moved = arrays[0].copy()
            moved[row, column] += sign * step
            grams = [type(kernel)(sigma=s).gram(z) for s, z in zip(sigmas, (moved, arrays[1]), strict=True)]
            chosen = iter(grams)
            values.append(float(repscope.cka(moved, arrays[1], kernel=lambda z, chosen=chosen: next(chosen))))
        difference = (values[0] - values[1]) / (2 * step)
        np.testing.assert_allclose(float(x.grad[row, column]), difference, rtol=1e-5, atol=1e-9)


def test_laplace_has_gradients_where_examples_coincide():
    x, y = pair(9, 3, 2)
    x[4] = x[2]
    x = torch.from_numpy(x).requires_grad_()
    repscope.cka(x, torch.from_numpy(y), kernel=Laplace(sigma=2.0)).backward()
    assert bool(torch.all(torch.isfinite(x.grad)))
    assert float(torch.linalg.norm(x.grad)) > 0


def test_single_precision_gradients_agree_with_double():
    arrays = pair(40, 6, 5)
    for call in (repscope.cka, repscope.procrustes, repscope.linear_regression):
        gradients = []
        for dtype in (torch.float32, torch.float64):
            x, y = (torch.from_numpy(z).to(dtype).requires_grad_() for z in arrays)
            call(x, y).backward()
            gradients.append(x.grad.double().numpy())
        scale = np.abs(gradients[1]).max()
        np.testing.assert_allclose(gradients[0] / scale, gradients[1] / scale, atol=1e-4)


def test_half_precision_gets_half_precision_gradients():
    x, y = (torch.from_numpy(z).to(torch.bfloat16).requires_grad_() for z in pair(40, 6, 5))
    repscope.cka(x, y).backward()
    assert x.grad.dtype is torch.bfloat16
    assert bool(torch.all(torch.isfinite(x.grad)))


def test_a_step_along_the_gradient_raises_the_score():
    x, y = tensors(30, 6, 5)
    before = repscope.cka(x, y)
    before.backward()
    with torch.no_grad():
        after = repscope.cka(x + 0.1 * x.grad, y)
    assert float(after) > float(before.detach())
    assert not after.requires_grad


def test_without_gradients_the_fast_route_is_taken():
    x, y = tensors(5, 7, 2)
    with torch.no_grad():
        without = repscope.procrustes(x, y)
    np.testing.assert_allclose(float(without), float(repscope.procrustes(x, y).detach()), rtol=1e-12)
