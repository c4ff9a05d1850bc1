from __future__ import annotations

import subprocess
import sys
from importlib import resources

import numpy as np
import pytest

from repscope.errors import InputError
from repscope.studies.digits import load_digits


def originals():
    archive = resources.files("repscope.studies").joinpath("data/digits.npz")
    with archive.open("rb") as file, np.load(file) as data:
        return data["images"], data["labels"]


def test_the_carried_data_are_the_published_ones():
    images, labels = originals()
    assert images.shape == (1797, 8, 8)
    assert images.dtype == np.uint8
    assert (images.min(), images.max(), images.sum()) == (0, 16, 561718)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    np.testing.assert_array_equal(images[0, 0], [0, 0, 5, 13, 9, 1, 0, 0])
    np.testing.assert_array_equal(images[-1, -1], [0, 1, 8, 12, 14, 12, 1, 0])


def test_attribution_stands_beside_the_data():
    text = resources.files("repscope.studies").joinpath("data/ATTRIBUTION.md").read_text(encoding="utf-8")
    for required in ("Alpaydin", "Kaynak", "CC BY 4.0", "scikit-learn", "Changed"):
        assert required in text


@pytest.mark.parametrize("size", [8, 16, 32])
def test_images_are_standardised_and_labelled(size):
    images, labels = load_digits(size)
    assert images.shape == (1797, 1, size, size)
    assert images.dtype == np.float32
    assert labels.dtype == np.int64
    np.testing.assert_allclose(images.mean(dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(images.std(dtype=np.float64), 1, atol=1e-6)
    np.testing.assert_array_equal(labels, originals()[1])


def test_size_eight_leaves_the_pixels_alone():
    raw = originals()[0].astype(np.float64)
    expected = (raw - raw.mean()) / raw.std()
    np.testing.assert_array_equal(load_digits(8)[0][:, 0], expected.astype(np.float32))


@pytest.mark.parametrize("size", [9, 16, 27, 32])
def test_upscaling_is_bilinear_with_half_pixel_centres(size):
    torch = pytest.importorskip("torch")
    raw = torch.from_numpy(originals()[0][:50].astype(np.float64))[:, None]
    expected = torch.nn.functional.interpolate(raw, size=(size, size), mode="bilinear", align_corners=False)
    images = load_digits(size)[0][:50].astype(np.float64)
    # Standardisation is one affine map for the whole set, so the interpolated images agree once it is undone.
    scale, shift = np.polyfit(images.ravel(), expected.numpy().ravel(), 1)
    np.testing.assert_allclose(scale * images + shift, expected.numpy(), atol=1e-5)


def test_a_size_below_the_originals_is_refused():
    with pytest.raises(InputError, match=r"load_digits: size must be at least 8, got 7\. The originals"):
        load_digits(7)


def test_loading_digits_does_not_load_torch():
    program = (
        "import sys; from repscope.studies.digits import load_digits; load_digits();sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
