"""Scores as PNG images of one pixel a score, for comparisons with more scores than a browser should hold."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from repscope.comparison import Comparison
from repscope.report.colors import diverging, indices, palette

TILE = 256


def tiles(comparison: Comparison) -> list[dict[str, Any]]:
    """The heat map in square tiles, layer 1 of both axes at bottom left.

    Where scores lie on both sides of zero, the colours part there, as the script's do on a light page.

    Args:
        comparison: What to draw.

    Returns:
        For each tile its first column and row, its width and height in layers, and its image as a data URI.
    """
    low, high = comparison.scale
    scale = "sequential"
    if diverging(comparison):
        high = max(abs(low), abs(high))
        low, scale = -high, "diverging_light"
    pixels, colors = indices(comparison.values, low, high, flip=comparison.kind == "distance"), palette(scale)
    rows, columns = pixels.shape
    return [
        {
            "x": x,
            "y": y,
            "width": part.shape[1],
            "height": part.shape[0],
            "image": "data:image/png;base64," + base64.b64encode(png(part[::-1], colors)).decode("ascii"),
        }
        for y in range(0, rows, TILE)
        for x in range(0, columns, TILE)
        # One layer more than the tile: neighbours overlap, or the browser would show a seam between them.
        for part in [pixels[y : y + TILE + 1, x : x + TILE + 1]]
    ]


def whole(comparison: Comparison) -> bytes:
    """The heat map as one PNG of one pixel a score, in the colours of plots, layer 1 of both axes at bottom left."""
    pixels = indices(comparison.values, *comparison.scale, flip=comparison.kind == "distance")
    return png(pixels[::-1], palette())


def png(pixels: npt.NDArray[np.uint8], colors: npt.NDArray[np.uint8]) -> bytes:
    """A PNG file of colours by index (W3C PNG specification, colour type 3).

    Args:
        pixels: Colour of each, by its place in ``colors``, shape (height, width).
        colors: Red, green and blue, shape (256, 3).
    """
    height, width = pixels.shape
    lines = np.zeros((height, width + 1), dtype=np.uint8)  # each line begins with its filter: 0, none
    lines[:, 1:] = pixels

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            chunk(b"IHDR", header),
            chunk(b"PLTE", colors.tobytes()),
            chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)),
            chunk(b"IEND", b""),
        ]
    )
