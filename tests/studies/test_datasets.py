from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from repscope.errors import InputError
from repscope.studies import cifar
from repscope.studies.datasets import ImageSet, load_images
from repscope.studies.digits import load_digits


def test_the_digits_are_split_and_need_no_folder():
    digits = load_images("digits")
    images, labels = load_digits(16)
    np.testing.assert_array_equal(np.concatenate([digits.train_images, digits.test_images]), images)
    np.testing.assert_array_equal(np.concatenate([digits.train_labels, digits.test_labels]), labels)
    assert (len(digits.train_images), len(digits.test_images)) == (1400, 397)
    assert digits.classes == tuple("0123456789")
    assert digits.channels == 1
    assert np.bincount(digits.test_labels).min() >= 30


def images_of(train, test, dtype=np.uint8, **changes):
    rng = np.random.default_rng(0)
    values = {
        "name": "digits",
        "train_images": rng.integers(0, 200, (train, 3, 4, 4)).astype(dtype),
        "train_labels": np.arange(train) % 3,
        "test_images": rng.integers(50, 250, (test, 3, 4, 4)).astype(dtype),
        "test_labels": np.arange(test) % 3,
        "classes": ("a", "b", "c"),
    }
    return ImageSet(**(values | changes))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_both_parts_are_standardised_by_all_training_images(dtype):
    images = images_of(70, 9, dtype)
    train = images.train_images.astype(np.float64)
    mean, sd = train.mean(axis=(0, 2, 3), keepdims=True), train.std(axis=(0, 2, 3), keepdims=True)
    for split, limit in (("train", None), ("train", 5), ("test", None), ("test", 9)):
        held = getattr(images, f"{split}_images")
        result = images.standardised(split, limit)
        assert result.dtype == np.float32
        assert result.flags.c_contiguous
        np.testing.assert_allclose(result, ((held - mean) / sd)[:limit], atol=2e-6)
    result = images.standardised("train")
    np.testing.assert_allclose(result.mean(axis=(0, 2, 3), dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(result.std(axis=(0, 2, 3), dtype=np.float64), 1, rtol=1e-6)


def test_a_constant_channel_cannot_be_standardised():
    images = images_of(5, 3)
    images.train_images[:, 1] = 7
    with pytest.raises(InputError, match=r"every channel must vary .* constant channel 1 in 'digits'"):
        images.standardised("train")


@pytest.mark.parametrize("limit", [0, 6, -1])
def test_a_limit_out_of_range_is_refused(limit):
    with pytest.raises(InputError, match=rf"standardised: limit must be from 1 to 5, .* train .*got {limit}"):
        images_of(5, 3).standardised("train", limit)


def test_an_unknown_part_is_refused():
    with pytest.raises(InputError, match="split must be 'train' or 'test', got 'validation'"):
        images_of(5, 3).standardised("validation")


def test_the_fingerprint_follows_the_data_and_nothing_else():
    same = images_of(5, 3).fingerprint
    assert len(same) == 16
    assert images_of(5, 3, notes=("a note",)).fingerprint == same
    others = [images_of(5, 3, classes=("a", "b", "d")), images_of(5, 3, np.float32), images_of(5, 2)]
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        changed = images_of(5, 3)
        array = getattr(changed, part)
        array.flat[0] = (array.flat[0] + 1) % 3
        others.append(changed)
    assert len({same, *(other.fingerprint for other in others)}) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_labels": np.zeros(4, int)}, r"train_images must have .* got \(5, 3, 4, 4\) and \(4,\)"),
        ({"test_images": np.zeros((3, 48), np.uint8)}, r"test_images must have shape"),
        ({"train_images": np.zeros((5, 3, 4, 4))}, r"train_images must be uint8 or float32, got float64"),
        ({"test_labels": np.array([0, 3, 1])}, r"test_labels must be from 0 to 2, .* got 0 to 3"),
        ({"test_images": np.zeros((3, 3, 5, 4), np.uint8)}, r"train_images and .* got \(3, 4, 4\) and \(3, 5, 4\)"),
    ],
)  # fmt: skip
def test_images_that_do_not_fit_together_are_refused(changes, message):
    with pytest.raises(InputError, match=f"ImageSet: {message}"):
        images_of(5, 3, **changes)


def test_reading_images_needs_numpy_only():
    from tests.test_architecture import heavy_modules

    code = "from repscope.studies.datasets import load_images\nload_images('digits').standardised('train')"
    assert heavy_modules(code) == []


def test_the_published_sources_have_the_published_sizes():
    for source in cifar.SOURCES.values():
        assert sum(source.records(name) for name in source.train) == 50_000
        assert source.records(source.test) == 10_000
        assert all(len(md5) == 32 for _, md5 in source.archives)
    assert Path(cifar.SITE).name == "~kriz"
