"""Scores as PNG images of one pixel a score, for comparisons with more scores than a browser should hold."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from repscope.comparison import Comparison

TILE = 256
_UNDEFINED = 255  # the last colour of the palette


def tiles(comparison: Comparison) -> list[dict[str, Any]]:
    """The heat map in square tiles, layer 1 of both axes at bottom left.

    Args:
        comparison: What to draw.

    Returns:
        For each tile its first column and row, its width and height in layers, and its image as a data URI.
    """
    indices = _indices(comparison)
    colors = palette()
    rows, columns = indices.shape
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
        for part in [indices[y : y + TILE + 1, x : x + TILE + 1]]
    ]


def whole(comparison: Comparison) -> bytes:
    """The heat map as one PNG of one pixel a score, layer 1 of both axes at bottom left."""
    return png(_indices(comparison)[::-1], palette())


def _indices(comparison: Comparison) -> npt.NDArray[np.uint8]:
    """Place of each score in the palette."""
    low, high = comparison.scale
    share = (np.clip(comparison.values, low, high) - low) / (high - low)
    if comparison.kind == "distance":
        share = 1.0 - share
    defined = ~np.isnan(share)
    indices = np.full(share.shape, _UNDEFINED, dtype=np.uint8)
    indices[defined] = np.rint(share[defined] * (_UNDEFINED - 1)).astype(np.uint8)
    return indices


def palette() -> npt.NDArray[np.uint8]:
    """Red, green and blue of 255 colours from unlike to alike, and of what is undefined; shape (256, 3)."""
    stops = json.loads((files("repscope.report") / "assets" / "colors.json").read_text("utf-8"))
    known = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in stops["sequential"]])
    places = np.linspace(0, len(known) - 1, _UNDEFINED)
    ramp = np.stack([np.interp(places, np.arange(len(known)), channel) for channel in known.T], axis=1)
    undefined = [int(stops["undefined"][i : i + 2], 16) for i in (1, 3, 5)]
    return np.concatenate([np.rint(ramp), [undefined]]).astype(np.uint8)


def png(indices: npt.NDArray[np.uint8], colors: npt.NDArray[np.uint8]) -> bytes:
    """A PNG file of colours by index (W3C PNG specification, colour type 3).

    Args:
        indices: Colour of each pixel, shape (height, width).
        colors: Red, green and blue, shape (256, 3).
    """
    height, width = indices.shape
    lines = np.zeros((height, width + 1), dtype=np.uint8)  # each line begins with its filter: 0, none
    lines[:, 1:] = indices

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
