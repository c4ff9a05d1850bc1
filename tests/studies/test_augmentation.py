from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from repscope.studies.augmentation import FlipAndCrop, RandomShift  # noqa: E402


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=2, height=4, width=5):
    return torch.arange(1.0, n * 3 * height * width + 1).reshape(n, 3, height, width)


def windows(image, pixels, mode):
    """Every window of the padded image by its offsets."""
    padded = functional.pad(image[None], [pixels] * 4, mode=mode)[0]
    height, width = image.shape[1:]
    steps = range(2 * pixels + 1)
    return {(dy, dx): padded[:, dy : dy + height, dx : dx + width] for dy in steps for dx in steps}


def seen(augment, pixels, mode, repeats):
    """How often each (offset, offset, mirrored) came up over many batches; every result must be one of them."""
    found = {}
    source = generator()
    for _ in range(repeats):
        for image, changed in zip(images(), augment(images(), source), strict=True):
            candidates = {(*place, False): window for place, window in windows(image, pixels, mode).items()}
            candidates |= {(*place[:2], True): window.flip(2) for place, window in candidates.items()}
            matches = [place for place, candidate in candidates.items() if torch.equal(candidate, changed)]
            assert len(matches) == 1
            found[matches[0]] = found.get(matches[0], 0) + 1
    return found


def test_a_shift_moves_each_image_as_a_whole_and_repeats_the_edge():
    assert set(seen(RandomShift(1), 1, "replicate", 60)) == {(y, x, False) for y in range(3) for x in range(3)}


def test_crops_come_from_anywhere_within_the_border_of_zeros_and_half_are_mirrored():
    found = seen(FlipAndCrop(2), 2, "constant", 400)
    assert set(found) == {(y, x, flip) for y in range(5) for x in range(5) for flip in (False, True)}
    mirrored = sum(count for place, count in found.items() if place[2])
    assert abs(mirrored - 400) < 4 * 800**0.5 / 2  # four standard deviations of a fair coin


def test_either_part_can_be_left_out():
    assert {place[2] for place in seen(FlipAndCrop(1, flip=False), 1, "constant", 40)} == {False}
    assert set(seen(FlipAndCrop(0), 0, "constant", 40)) == {(0, 0, False), (0, 0, True)}


@pytest.mark.parametrize("augment", [RandomShift(1), FlipAndCrop()])
def test_the_generator_alone_decides_and_the_images_stay(augment):
    before = torch.random.get_rng_state()
    source = images(9)
    first, again, other = (augment(source, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(source, images(9))
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(first.shape, source.shape)
