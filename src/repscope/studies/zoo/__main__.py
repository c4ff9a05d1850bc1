"""``python -m repscope.studies.zoo``: train networks from the command line."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from repscope.errors import InputError, RepscopeError
from repscope.studies.datasets import NAMES, load_images
from repscope.studies.zoo.runner import trained
from repscope.studies.zoo.spec import ARCHITECTURES, NetworkSpec, Recipe

_OF_IMAGES = [name for name in ARCHITECTURES if name != "translator"]

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells expect it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what the arguments say and return the exit status: 0, 1 for bad input, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    changes = {
        name: value
        for name in ("epochs", "batch_size", "learning_rate", "weight_decay", "crop", "flip", "precision")
        if (value := getattr(options, name)) is not None
    }
    try:
        spec = NetworkSpec(options.network, dict(_option(text) for text in options.option))
        batch_norm = spec.options.get("batch_norm", True)
        recipe = Recipe.for_images(options.data, batch_norm=batch_norm, **changes)
        seeds = _seeds(options.seeds)
        images = load_images(options.data, options.data_dir, download=options.download)
        for note in images.notes:
            print(f"{options.data}: {note}", file=sys.stderr)
        networks = trained(
            spec,
            images,
            recipe,
            seeds,
            options.out,
            device=options.device,
            progress=True,
            limit=options.limit,
            jobs=options.jobs,
        )
    except RepscopeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. The same command continues at the last finished epoch.", file=sys.stderr)
        return INTERRUPTED
    accuracies = [100 * network.test_accuracy for network in networks]
    spread = f" ± {statistics.stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
    print(
        f"{len(networks)} × {spec.name}: test accuracy {statistics.fmean(accuracies):.2f}{spread} %, in {options.out}"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m repscope.studies.zoo", description="Train networks of the studies."
    )
    parser.add_argument("--network", required=True, choices=_OF_IMAGES)
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="e.g. depth=18; repeatable")
    parser.add_argument("--data", required=True, choices=NAMES)
    parser.add_argument("--data-dir", help="folder of the data set or its parent")
    parser.add_argument("--download", action="store_true", help="fetch the data set into --data-dir if it is not there")
    parser.add_argument("--seeds", default="0", help="e.g. 0-9 or 0,3,5")
    parser.add_argument("--limit", type=int, help="train on the first so many images only")
    parser.add_argument("--out", required=True, help="folder for the networks; the same command continues there")
    parser.add_argument("--jobs", type=int, help="networks at once")
    parser.add_argument("--device", default="auto")
    recipe = parser.add_argument_group("recipe; what is not given is the data set's default")
    recipe.add_argument("--epochs", type=int)
    recipe.add_argument("--batch-size", type=int)
    recipe.add_argument("--learning-rate", type=float)
    recipe.add_argument("--weight-decay", type=float)
    recipe.add_argument("--crop", type=int, help="pixels of zeros around an image before it is cut again")
    recipe.add_argument("--flip", action=argparse.BooleanOptionalAction)
    recipe.add_argument("--precision", choices=("auto", "float32", "bfloat16"))
    return parser


def _option(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name.replace("-", "_"), json.loads(value)
    except json.JSONDecodeError:
        raise InputError(f"--option: must be NAME=VALUE with a number, true or false, got {text!r}.") from None


def _seeds(text: str) -> list[int]:
    try:
        parts = [part.partition("-") for part in text.split(",")]
        return [seed for first, dash, last in parts for seed in range(int(first), int(last if dash else first) + 1)]
    except ValueError:
        raise InputError(f"--seeds: must be like 0-9 or 0,3,5, got {text!r}.") from None


if __name__ == "__main__":
    raise SystemExit(main())
