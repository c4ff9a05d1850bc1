from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from repscope._rows import Rows

X = np.arange(60, dtype=np.float32).reshape(20, 3)


@pytest.mark.parametrize("expected", [0, 1, 12, 20, 50])
@pytest.mark.parametrize("sizes", [[20], [1] * 20, [7, 7, 6], [3, 0, 17]])
def test_batches_become_one_array(expected, sizes):
    rows = Rows(expected)
    for part in np.split(X, np.cumsum(sizes)[:-1]):
        rows.append(part)
    assert_array_equal(rows.take(), X)


@pytest.mark.parametrize("expected", [4, 20])
def test_what_is_computed_in_its_place_is_not_copied(expected):
    rows = Rows(expected)
    for part in np.split(X, 5):
        place = rows.room(part)
        place[...] = part
        rows.append(place)
    taken = rows.take()
    assert_array_equal(taken, X)
    assert np.shares_memory(place, taken)


def test_a_batch_that_does_not_use_its_place_is_copied():
    rows = Rows(20)
    batch = X[:10].copy()
    rows.room(batch)
    rows.append(batch)
    batch[...] = 0
    rows.append(X[10:])
    assert_array_equal(rows.take(), X)


def test_the_type_is_that_of_the_rows_not_of_the_room():
    rows = Rows(20)
    rows.room(X)
    rows.append(X.astype(np.float64) / 3)
    assert_array_equal(rows.take(), X.astype(np.float64) / 3)


@pytest.mark.parametrize("expected", [0, 2, 10])
def test_rows_take_places(expected):
    rows = Rows(expected)
    rows.put(X[:4], np.arange(4))
    rows.put(X[:0], np.arange(0))
    rows.put(X[4:8], np.array([1, 4, 5, 3]))
    assert_array_equal(rows.take(), X[[0, 4, 2, 7, 5, 6]])


def test_tensors_are_kept_as_tensors_of_their_own():
    torch = pytest.importorskip("torch")
    rows = Rows(50)
    batch = torch.tensor(X[:15])
    rows.append(batch)
    batch.zero_()
    rows.put(torch.tensor(X[15:]), np.arange(15, 20))
    taken = rows.take()
    assert isinstance(taken, torch.Tensor)
    assert taken.untyped_storage().nbytes() == taken.nbytes  # no untouched room is held on
    assert_array_equal(taken.numpy(), X)
