"""``repscope demo`` and ``reproduce``: published experiments."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from repscope.cli.options import Quiet, Verbose
from repscope.cli.output import explained
from repscope.errors import InputError


class Scale(StrEnum):
    """How much of the paper's counts."""

    TINY = "tiny"
    SMALL = "small"
    PAPER = "paper"


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where all files go.")] = Path("demo"),
    networks: Annotated[int, typer.Option(metavar="N", help="How many are trained, at least 3.")] = 4,
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="Passes over the digits.")] = 12,
    width: Annotated[int, typer.Option(min=1, metavar="N", help="Channels of the first layers.")] = 16,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="Of the first network; the others take the next integers.")
    ] = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train networks and ask each index which layers fit."""
    with explained(verbose):
        from repscope.studies.demo import run_demo

        progress = False if quiet else None
        result = run_demo(output, networks=networks, epochs=epochs, width=width, seed=seed, progress=progress)
        if not quiet:
            print(result.table())
            print(f"wrote {result.figure}, {result.results} and the comparisons", file=sys.stderr)


def reproduce(
    study: Annotated[
        str | None,
        typer.Argument(metavar="STUDY", help="One of those that --list shows.", autocompletion=lambda: _studies()),
    ] = None,
    scale: Annotated[
        Scale,
        typer.Option(
            help="tiny: digits, seconds; small: an hour or two on 2 cores, sanity some hours more; paper: the paper's "
            "counts. --list tells."
        ),
    ] = Scale.TINY,
    list_all: Annotated[bool, typer.Option("--list", help="Print the studies, or the cost of STUDY here.")] = False,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Files of CIFAR or Multi30k, for small and paper.")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch missing data from their authors.")] = False,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="All results; networks are shared between studies.")
    ] = Path("results"),
    networks_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Trained networks.  [default: networks in the folder of -o]")
    ] = None,
    networks: Annotated[int | None, typer.Option(min=1, metavar="N", help="Networks of each kind.")] = None,
    epochs: Annotated[int | None, typer.Option(min=0, metavar="N", help="Passes over the training images.")] = None,
    images: Annotated[int | None, typer.Option(min=4, metavar="N", help="Images that layers are compared on.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other setting of the scale; repeat.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run an experiment of the 2019 paper: networks, similarities, figures, and whether each claim holds."""
    from repscope.cli.reproduce import changes_of, cost_of, list_studies, print_outcome, run

    with explained(verbose):
        settings = changes_of({"networks": networks, "epochs": epochs, "images": images}, changes or [])
        if list_all:
            print("\n".join(list_studies() if study is None else cost_of(study, settings, device)))
            return
        if study is None:
            raise InputError("reproduce: STUDY must be given. See: repscope reproduce --list")
        outcome = run(
            study,
            scale=scale.value,
            output=output,
            data_dir=data_dir,
            networks_dir=networks_dir,
            download=download,
            changes=settings,
            device=device,
            quiet=quiet,
        )
        if as_json:
            print((outcome.folder / "numbers.json").read_text(encoding="utf-8"), end="")
        elif not quiet:
            print_outcome(outcome)
        if not quiet:
            print(f"wrote {outcome.page}, its figures, numbers.json and the comparisons", file=sys.stderr)


def _studies() -> list[str]:
    from repscope.studies.reproduce import NAMES

    return list(NAMES)
