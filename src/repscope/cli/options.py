"""Options that several commands have, and the words that some of them take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Estimator(StrEnum):
    """Of HSIC and CKA."""

    UNBIASED = "unbiased"
    BIASED = "biased"


class Precision(StrEnum):
    """Of the products of activations."""

    AUTO = "auto"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BFLOAT16 = "bfloat16"
    TF32 = "tf32"


class Pairs(StrEnum):
    """Of examples."""

    AUTO = "auto"
    ALL = "all"
    BATCH = "batch"


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no table and no progress.")]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write a report that any browser shows, in one file.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print every convention; the traceback of an error.")]
Layers = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Names, globs, or residual, attention, mlp …; repeatable."),
]
Reduce = Annotated[
    str,
    typer.Option(metavar="HOW", help="Activation to matrix: auto, flatten, mean, tokens, words, first, last …"),
]
ImageSize = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Pixels a side.  [default: 16 for digits, 224 for folders]")
]
Truncate = Annotated[
    bool, typer.Option("--truncate", help="Cut sentences that are longer than a language model takes.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Write comparison.npz, comparison.json and heatmap.png."),
]
BatchSize = Annotated[int, typer.Option(min=1, metavar="N", help="Examples in a batch.")]
Data = Annotated[
    str | None,
    typer.Option(metavar="DATA", help="What models run on: digits, a folder of images, text:FILE, .npz, x.py:name."),
]
Kernel = Annotated[
    str, typer.Option(metavar="KERNEL", help="Of cka and hsic: linear, cosine, rbf:0.4, laplace:1, polynomial:3.")
]
MeasureOption = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="Of a measure, e.g. summary=mean; may be repeated.")
]
Memory = Annotated[str | None, typer.Option(metavar="SIZE", help="Budget, e.g. 4GB.  [default: half of what is free]")]
Device = Annotated[str | None, typer.Option(metavar="NAME", help="Where models run, e.g. cuda.")]
NetworkA = Annotated[str, typer.Argument(metavar="A", help="A model (file.py:name, hf:NAME_OR_DIR) or stored arrays.")]
LayersB = Annotated[list[str] | None, typer.Option(metavar="GLOB", help="The same for B, if they differ.")]
WeightsA = Annotated[str | None, typer.Option("--weights", metavar="FILE", help="Of A: .safetensors, .pt or .pth.")]
WeightsB = Annotated[str | None, typer.Option("--weights-b", metavar="FILE", help="Of B.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
