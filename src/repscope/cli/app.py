"""The commands and their options."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from repscope import __version__, _container
from repscope.cli.arguments import parse_kernel, parse_options, parse_shard
from repscope.comparison import Comparison, load
from repscope.errors import InputError, RepscopeError
from repscope.measures.catalog import CATALOG, configure

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""The base of all complaints about the words on the command line, of which typer exports only a class derived."""

app = typer.Typer(
    rich_markup_mode=None,  # rich's help is twice as slow to come up
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class _Estimator(StrEnum):
    UNBIASED = "unbiased"
    BIASED = "biased"


class _Precision(StrEnum):
    AUTO = "auto"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BFLOAT16 = "bfloat16"
    TF32 = "tf32"


class _Pairs(StrEnum):
    AUTO = "auto"
    ALL = "all"
    BATCH = "batch"


_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no table and no progress.")]
_Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write a report that any browser shows, in one file.")
]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print every convention; the traceback of an error.")]


@app.callback(invoke_without_command=True)
def _repscope(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Compare what neural networks have learned, layer by layer."""
    if version:
        print(f"repscope {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("compare")
def _compare(
    context: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="A model (file.py:name, hf:NAME_OR_DIR) or stored arrays.")],
    b: Annotated[str | None, typer.Argument(metavar="B", help="The second; without it, within A.")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="What models run on: digits, a folder of images, text:FILE, .npz, x.py:name."
        ),
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Names, globs, or residual, attention, mlp …; repeatable."),
    ] = None,
    layers_b: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="The same for B, if they differ.")] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            help="See repscope measures; repeat for several.  [default: cka]",
            autocompletion=lambda: list(CATALOG),
        ),
    ] = None,
    kernel: Annotated[
        str, typer.Option(metavar="KERNEL", help="Of cka and hsic: linear, cosine, rbf:0.4, laplace:1, polynomial:3.")
    ] = "linear",
    estimator: Annotated[_Estimator, typer.Option(help="Of cka and hsic.")] = _Estimator.UNBIASED,
    pairs: Annotated[_Pairs, typer.Option(help="Pairs of examples: all is exact, batch estimates.")] = _Pairs.AUTO,
    reduce: Annotated[
        str,
        typer.Option(metavar="HOW", help="Activation to matrix: auto, flatten, mean, tokens, words, first, last …"),
    ] = "auto",
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Of a measure, e.g. summary=mean; may be repeated.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Examples in a batch.")] = 256,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Budget, e.g. 4GB.  [default: half of what is free]")
    ] = None,
    weights: Annotated[str | None, typer.Option(metavar="FILE", help="Of A: .safetensors, .pt or .pth.")] = None,
    weights_b: Annotated[str | None, typer.Option(metavar="FILE", help="Of B.")] = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Pixels a side.  [default: 16 for digits, 224 for folders]")
    ] = None,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Cut sentences that are longer than a language model takes.")
    ] = False,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="Where models run, e.g. cuda.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="Of what is drawn: weights (of B: N + 1), data, samples.")
    ] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write comparison.npz, comparison.json and heatmap.png."),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print what would be done, and stop.")] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep unfinished sums of cka or hsic here; go on from them if it exists."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Keep unfinished sums in the output folder; go on from those that are there."),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Do the k-th of n shares, into the checkpoint; see repscope merge."),
    ] = None,
    precision: Annotated[
        _Precision, typer.Option(help="Of the products of activations in cka and hsic.")
    ] = _Precision.AUTO,
    intervals: Annotated[
        bool | None,
        typer.Option("--intervals/--no-intervals", help="Standard errors of cka and hsic.  [default: where cheap]"),
    ] = None,
    html: _Html = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    quiet: _Quiet = False,
    verbose: _Verbose = False,
) -> None:
    """Compare the layers of A with those of B or A itself."""
    from repscope.cli import files
    from repscope.cli.request import Request
    from repscope.engine import distributed

    with _explained(verbose):
        ids = list(dict.fromkeys(measure or ["cka"]))
        for name in ids:
            configure(name)  # an unknown one is refused before torch and the user's models are loaded
        settings: dict[str, Any] = {
            "measure": ids,
            "kernel": parse_kernel(kernel),
            "estimator": estimator.value,
            "pairs": pairs.value,
            "reduce": reduce,
            "batch_size": batch_size,
            "memory": memory,
            "precision": precision.value,
            "intervals": "auto" if intervals is None else intervals,
            "progress": False if quiet else None,
            **parse_options(option or []),
        }
        share = None if shard is None else parse_shard(shard)
        if share is not None and checkpoint is None:
            raise InputError("compare: --shard must come with --checkpoint FILE, where the share's sums are left.")
        if resume:
            if output is None or checkpoint is not None:
                raise InputError("compare: --resume must come with -o DIR, and without --checkpoint FILE.")
            checkpoint = output / files.UNFINISHED
        if output is not None:
            files.check_folder(output, ids)
        if html is not None:
            files.check_page(html)
        if resume and output is not None and not plan:
            output.mkdir(exist_ok=True)
        request = Request(
            a,
            b,
            data=data,
            weights=(weights, weights_b),
            layers=(layers or None, layers_b or None),
            image_size=image_size,
            truncate=truncate,
            device=device,
            seed=seed,
        )
        if plan:
            print(request.plan(settings).explain())
            return
        if share is not None and checkpoint is not None:
            request.run_part(settings, share, checkpoint)
            print(f"wrote {checkpoint}", file=sys.stderr)
            return
        rank = distributed.join().index if distributed.launched() else 0
        comparisons = request.run({**settings, "checkpoint": checkpoint})
        if distributed.launched():
            distributed.leave()
        if rank > 0:
            return  # every process has the same numbers, one of them tells
        comparisons = [files.with_command(comparison, context.obj) for comparison in comparisons]
        _deliver(comparisons, output, html, as_json=as_json, quiet=quiet, details=verbose)
        if resume and output is not None:
            files.remove_unfinished(output)


@app.command("merge")
def _merge(
    context: typer.Context,
    parts: Annotated[list[Path], typer.Argument(metavar="FILE...", help="All shares of one comparison.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write comparison.npz, comparison.json and heatmap.png."),
    ] = None,
    html: _Html = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    quiet: _Quiet = False,
    verbose: _Verbose = False,
) -> None:
    """Put the shares of a comparison together (compare --shard)."""
    from repscope.cli import files
    from repscope.cli.request import warnings_once
    from repscope.compare import merge

    with _explained(verbose), warnings_once():
        if output is not None:
            files.check_folder(output, ["cka"])
        if html is not None:
            files.check_page(html)
        comparisons = [merge(parts)]
        comparisons = [files.with_command(comparison, context.obj) for comparison in comparisons]
        _deliver(comparisons, output, html, as_json=as_json, quiet=quiet, details=verbose)


@app.command("capture")
def _capture(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="file.py:name, package.module:name or hf:NAME_OR_DIR.")],
    data: Annotated[
        str,
        typer.Option(metavar="DATA", help="What it runs on: digits, a folder of images, text:FILE, .npz, x.py:name."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="STORE", help="A new directory, or a store to go on with.")
    ],
    layers: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Names, globs, or residual, attention, mlp …; repeatable."),
    ] = None,
    weights: Annotated[str | None, typer.Option(metavar="FILE", help=".safetensors, .pt or .pth.")] = None,
    reduce: Annotated[
        str,
        typer.Option(metavar="HOW", help="Activation to matrix: auto, flatten, mean, tokens, words, first, last …"),
    ] = "auto",
    dtype: Annotated[
        str | None, typer.Option(metavar="TYPE", help="On disk: float16, float32, float64.  [default: the model's]")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Examples in a batch.")] = 256,
    resume: Annotated[bool, typer.Option(help="Go on with the store that is there, or throw it away.")] = True,
    image_size: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Pixels a side.  [default: 16 for digits, 224 for folders]")
    ] = None,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Cut sentences that are longer than a language model takes.")
    ] = False,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="Where the model runs, e.g. cuda.")] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of initial weights.")] = 0,
    quiet: _Quiet = False,
    verbose: _Verbose = False,
) -> None:
    """Store the activations of a model, to be compared later; what was interrupted goes on."""
    from repscope.cli.capture import CaptureRequest

    with _explained(verbose):
        store = CaptureRequest(
            model,
            data,
            output,
            layers=layers or None,
            weights=weights,
            reduce=reduce,
            dtype=dtype,
            batch_size=batch_size,
            resume=resume,
            image_size=image_size,
            truncate=truncate,
            device=device,
            seed=seed,
            progress=False if quiet else None,
        ).run()
        if not quiet:
            print(f"wrote {output}: {len(store.layers)} layers of {store.n} examples", file=sys.stderr)


@app.command("measures")
def _measures(
    measure: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="One measure; without it, all.", autocompletion=lambda: list(CATALOG)),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the measures: ranges, invariances, formulas, references."""
    from repscope.cli.terminal import measure_facts, measure_lines, text_width

    rows = [configure(measure).measure] if measure is not None else list(CATALOG.values())
    if as_json:
        listed = [measure_facts(row) for row in rows]
        print(json.dumps(_container.portable(listed[0] if measure is not None else listed), allow_nan=False))
        return
    print("\n\n".join("\n".join(measure_lines(row, text_width())) for row in rows))


@app.command("doctor")
def _doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what this installation can do: versions, devices, speed, memory, and what each extra lacks."""
    from repscope.cli.doctor import examine, report_lines

    found = examine()
    print(json.dumps(found.as_data()) if as_json else "\n".join(report_lines(found)))


@app.command("report")
def _report(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Comparisons that repscope wrote (.npz).")],
    html: _Html = None,
    step: Annotated[
        list[float] | None,
        typer.Option(metavar="N", help="Training step of each file, in their order, for a report with a slider."),
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Heading of the report.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    verbose: _Verbose = False,
) -> None:
    """Show saved comparisons with all their conventions, as text or as a page for the browser."""
    from repscope.cli.files import as_json as in_json
    from repscope.cli.files import by_step, check_page

    with _explained(verbose):
        if html is not None:
            check_page(html)
        elif step or title is not None:
            raise InputError("report: --step and --title must come with --html FILE, the report that they are for.")
        comparisons = [load(file) for file in files]
        if as_json:
            print(in_json(comparisons))
        elif html is None:
            _print(comparisons, details=True)
        if html is not None:
            from repscope import report

            report.write(html, by_step(comparisons, step) if step else comparisons, title=title)
            print(f"wrote {html}", file=sys.stderr)


@app.command("demo")
def _demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where all files go.")] = Path("demo"),
    networks: Annotated[int, typer.Option(metavar="N", help="How many are trained, at least 3.")] = 4,
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="Passes over the digits.")] = 12,
    width: Annotated[int, typer.Option(min=1, metavar="N", help="Channels of the first layers.")] = 16,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="Of the first network; the others take the next integers.")
    ] = 0,
    quiet: _Quiet = False,
    verbose: _Verbose = False,
) -> None:
    """Train networks and ask each index which layers fit."""
    with _explained(verbose):
        from repscope.studies.demo import run_demo

        progress = False if quiet else None
        result = run_demo(output, networks=networks, epochs=epochs, width=width, seed=seed, progress=progress)
        if not quiet:
            print(result.table())
            print(f"wrote {result.figure}, {result.results} and the comparisons", file=sys.stderr)


class _Scale(StrEnum):
    TINY = "tiny"
    SMALL = "small"
    PAPER = "paper"


@app.command("reproduce")
def _reproduce(
    study: Annotated[
        str | None,
        typer.Argument(metavar="STUDY", help="One of those that --list shows.", autocompletion=lambda: _studies()),
    ] = None,
    scale: Annotated[
        _Scale, typer.Option(help="tiny: digits, seconds; small: an hour or two on 2 cores; paper: the paper's counts.")
    ] = _Scale.TINY,
    list_all: Annotated[bool, typer.Option("--list", help="Print the studies and leave.")] = False,
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
    quiet: _Quiet = False,
    verbose: _Verbose = False,
) -> None:
    """Run an experiment of the 2019 paper: networks, similarities, figures, and whether each claim holds."""
    from repscope.cli.reproduce import changes_of, list_studies, print_outcome, run

    with _explained(verbose):
        if list_all:
            print("\n".join(list_studies()))
            return
        if study is None:
            raise InputError("reproduce: STUDY must be given. See: repscope reproduce --list")
        settings = changes_of({"networks": networks, "epochs": epochs, "images": images}, changes or [])
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


def usage_message(error: Any) -> str:
    """One line about a :data:`UsageError`, with the help to read."""
    command = error.ctx.command_path if error.ctx else "repscope"
    return f"{command}: {error.format_message()} See: {command} --help"


def _deliver(
    comparisons: Sequence[Comparison],
    output: Path | None,
    html: Path | None,
    *,
    as_json: bool,
    quiet: bool,
    details: bool,
) -> None:
    """Write the results where they were asked for, and print them in the form that was."""
    from repscope.cli import files

    written = [] if output is None else files.write_results(output, comparisons)
    if html is not None:
        from repscope import report

        written.append(report.write(html, comparisons))
    if as_json:
        print(files.as_json(comparisons))
    elif not quiet:
        _print(comparisons, details)
    if written and not quiet:
        print(f"wrote {', '.join(map(str, written))}", file=sys.stderr)


def _print(comparisons: Sequence[Comparison], details: bool) -> None:
    from repscope.cli.terminal import print_comparison

    for number, comparison in enumerate(comparisons):
        if number:
            print()
        print_comparison(comparison, details=details)


@contextmanager
def _explained(verbose: bool) -> Iterator[None]:
    """Print the traceback before an error becomes one line, where it was asked for."""
    try:
        yield
    except (RepscopeError, OSError):
        if verbose:
            traceback.print_exc()
        raise
