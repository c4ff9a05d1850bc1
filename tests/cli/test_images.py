"""A folder of images as data."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from repscope import InputError, MissingExtraError
from repscope.images import MEAN, SD, ImageFolder

Image = pytest.importorskip("PIL.Image")


def paint(path, color, size=(8, 8), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)


def test_images_come_in_the_order_of_their_paths(tmp_path):
    paint(tmp_path / "b" / "2.png", (0, 0, 255))
    paint(tmp_path / "a" / "x" / "9.PNG", (255, 0, 0))
    paint(tmp_path / "b" / "1.webp", (0, 255, 0))
    paint(tmp_path / ".hidden" / "0.png", (9, 9, 9))
    paint(tmp_path / "b" / ".thumb.png", (9, 9, 9))
    (tmp_path / "notes.txt").write_text("no image")
    images = ImageFolder(tmp_path, size=4)
    assert [str(path.relative_to(tmp_path)) for path in images.files] == ["a/x/9.PNG", "b/1.webp", "b/2.png"]
    assert len(images) == 3
    assert [int(images[i].mean(axis=(1, 2)).argmax()) for i in range(3)] == [0, 1, 2]


def test_an_image_is_standardised_by_channel(tmp_path):
    paint(tmp_path / "1.png", (255, 0, 51))
    x = ImageFolder(tmp_path, size=5)[0]
    assert (x.shape, x.dtype) == ((3, 5, 5), np.float32)
    expected = (np.array([1.0, 0.0, 0.2]) - MEAN) / SD
    np.testing.assert_allclose(x, np.broadcast_to(expected[:, None, None], x.shape), rtol=1e-5)


def test_the_central_square_is_taken(tmp_path):
    pixels = np.zeros((6, 12, 3), dtype=np.uint8)
    pixels[:, 3:9] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    x = ImageFolder(tmp_path, size=6)[0]
    np.testing.assert_allclose(x, np.broadcast_to(((1 - MEAN) / SD)[:, None, None], x.shape), rtol=1e-5)


@pytest.mark.parametrize(("mode", "color"), [("L", 51), ("RGBA", (51, 51, 51, 0)), ("P", 0), ("I;16", 51 * 257)])
def test_other_modes_become_rgb(tmp_path, mode, color):
    image = Image.new(mode, (4, 4), color)
    if mode == "P":
        image.putpalette([51, 51, 51] * 256)
        image.info["transparency"] = b"\x00\xff"
    image.save(tmp_path / "1.png")
    x = ImageFolder(tmp_path, size=4)[0]
    np.testing.assert_allclose(x[:, 0, 0], (0.2 - MEAN) / SD, rtol=1e-5)


def test_a_turned_photograph_is_turned_back(tmp_path):
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    pixels[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter clockwise: the top becomes the right
    Image.fromarray(pixels).save(tmp_path / "1.png", exif=exif)
    bright = ImageFolder(tmp_path, size=4)[0][0] > 0
    assert bright[:, 3].all()
    assert not bright[:, :3].any()


@pytest.mark.parametrize(("content", "reason"), [(b"not an image", "it is no image"), (None, "truncated")])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, reason):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(tmp_path / "1.png")
    file = tmp_path / "2.jpg"
    Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:700] if content is None else content)
    images = ImageFolder(tmp_path, size=8)
    assert images[0].shape == (3, 8, 8)
    with pytest.raises(InputError, match=rf"every file must be a readable image, got '.*2\.jpg' \(.*{reason}"):
        images[1]


def test_folders_that_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"folder must hold images \(.png, .*, got none in"):
        ImageFolder(tmp_path)
    with pytest.raises(InputError, match="size must be positive, got 0"):
        ImageFolder(tmp_path, size=0)


def test_without_pillow_the_message_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"Reading images needs the package 'pillow'.*repscope\[images\]"):
        ImageFolder(tmp_path)
