"""A comparison in a notebook: its heat map, what it is of, and its warnings."""

from __future__ import annotations

import base64
import html
import io

from repscope.comparison import Comparison
from repscope.errors import MissingExtraError
from repscope.report.images import whole

_WARNING = "color:#8a5300;background:#fdf3e1;padding:.4em .8em;border-radius:6px;margin:.4em 0;max-width:44em"
_IMAGE_SIDE = 360  # pixels of the picture without matplotlib


def notebook_html(comparison: Comparison) -> str:
    """HTML of the heat map as an image, with the warnings above; no script, and nothing to load.

    Where matplotlib is missing, the image has one pixel a score and no names, and the pip command is said.

    Args:
        comparison: What to show.

    Returns:
        One ``<div>``.
    """
    rows, columns = comparison.values.shape
    facts = [f"{rows} × {columns} layers"] + ([] if comparison.n is None else [f"{comparison.n} examples"])
    warnings = "".join(f'<div style="{_WARNING}">{html.escape(text)}</div>' for text in comparison.warnings)
    hint = ""
    try:
        picture, style = _drawn(comparison), "max-width:100%"
    except MissingExtraError as error:
        picture = whole(comparison)
        height = round(_IMAGE_SIDE * min(3.0, max(1 / 3, rows / columns)))
        style = f"image-rendering:pixelated;width:{_IMAGE_SIDE}px;height:{height}px"
        hint = f"<div><small>Without names: {html.escape(str(error))}</small></div>"
    title = html.escape(comparison.title)
    source = f"data:image/png;base64,{base64.b64encode(picture).decode('ascii')}"
    return (
        f"<div><div><b>{title}</b> <small>{' · '.join(facts)}</small></div>{warnings}"
        f'<img src="{source}" alt="Heat map of {title}" style="{style}">{hint}</div>'
    )


def _drawn(comparison: Comparison) -> bytes:
    from repscope.plot import heatmap  # says how to install matplotlib, so it comes first
    from repscope.plot._figure import forget

    figure = heatmap(comparison).get_figure(root=True)
    assert figure is not None  # heatmap made it
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=90, facecolor="white")
    forget(figure)
    return content.getvalue()
