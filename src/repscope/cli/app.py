"""The commands of ``repscope``; the larger ones are in modules of their own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from repscope import __version__, _container
from repscope.cli import comparing, standing, studying
from repscope.cli.options import BatchSize, ImageSize, Layers, Quiet, Reduce, Truncate, Verbose
from repscope.cli.output import explained
from repscope.errors import InputError
from repscope.measures.catalog import CATALOG, configure

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""The base of all complaints about the words on the command line, of which typer exports only a class derived."""

app = typer.Typer(
    rich_markup_mode=None,  # rich's help is twice as slow to come up
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


app.command("compare")(comparing.compare)
app.command("merge")(comparing.merge)
app.command("baselines")(standing.baselines_command)
app.command("difference")(standing.difference_command)


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
    layers: Layers = None,
    weights: Annotated[str | None, typer.Option(metavar="FILE", help=".safetensors, .pt or .pth.")] = None,
    reduce: Reduce = "auto",
    dtype: Annotated[
        str | None, typer.Option(metavar="TYPE", help="On disk: float16, float32, float64.  [default: the model's]")
    ] = None,
    batch_size: BatchSize = 256,
    resume: Annotated[bool, typer.Option(help="Go on with the store that is there, or throw it away.")] = True,
    image_size: ImageSize = None,
    truncate: Truncate = False,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="Where the model runs, e.g. cuda.")] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of initial weights.")] = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Store the activations of a model, to be compared later; what was interrupted goes on."""
    from repscope.cli.capture import CaptureRequest
    from repscope.cli.networks import Asked, Loading

    with explained(verbose):
        store = CaptureRequest(
            Asked("MODEL", model, weights),
            Loading("capture", data, image_size, truncate, device, seed),
            output,
            layers=layers or None,
            reduce=reduce,
            dtype=dtype,
            batch_size=batch_size,
            resume=resume,
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
    choose: Annotated[
        bool, typer.Option("--choose", help="Recommend measures, with reasons, from the answers to three questions.")
    ] = False,
    invariance: Annotated[
        str | None,
        typer.Option(
            metavar="MAPS",
            help="What shall change nothing: permutation (of units), orthogonal, linear.",
            autocompletion=lambda: ["permutation", "orthogonal", "linear"],
        ),
    ] = None,
    examples: Annotated[int | None, typer.Option(metavar="N", help="Number of examples.")] = None,
    width: Annotated[int | None, typer.Option(metavar="P", help="Features of the wider layer.")] = None,
    metric: Annotated[bool | None, typer.Option(help="Whether the triangle inequality must hold.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the measures: ranges, invariances, formulas, references; or choose among them."""
    from repscope.cli.choosing import Answers, facts_of, lines_of, settle
    from repscope.cli.terminal import measure_facts, measure_lines, text_width

    answers = Answers(invariance, examples, width, metric)
    if choose:
        if measure is not None:
            raise InputError(f"measures: --choose must stand without an ID, got {measure!r}.")
        found = settle(answers)
        print(_as_json(facts_of(found)) if as_json else "\n".join(lines_of(found, text_width())))
        return
    if answers.given:
        raise InputError(f"measures: --{next(iter(answers.given))} answers a question of --choose. Add --choose.")
    rows = [configure(measure).measure] if measure is not None else list(CATALOG.values())
    if as_json:
        listed = [measure_facts(row) for row in rows]
        print(_as_json(listed[0] if measure is not None else listed))
        return
    print("\n\n".join("\n".join(measure_lines(row, text_width())) for row in rows))


def _as_json(facts: Any) -> str:
    return json.dumps(_container.portable(facts), allow_nan=False)


@app.command("doctor")
def _doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what this installation can do: versions, devices, speed, memory, and what each extra lacks."""
    from repscope.cli.doctor import examine, report_lines

    found = examine()
    print(json.dumps(found.as_data()) if as_json else "\n".join(report_lines(found)))


app.command("report")(comparing.report)
app.command("demo")(studying.demo)
app.command("reproduce")(studying.reproduce)


def usage_message(error: Any) -> str:
    """One line about a :data:`UsageError`, with the help to read."""
    command = error.ctx.command_path if error.ctx else "repscope"
    return f"{command}: {error.format_message()} See: {command} --help"
