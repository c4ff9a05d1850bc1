"""``repscope compare``, ``merge`` and ``report``: scores, computed or read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from repscope.cli.arguments import parse_shard, score_settings
from repscope.cli.options import (
    AsJson,
    BatchSize,
    Data,
    Device,
    Estimator,
    Html,
    ImageSize,
    Kernel,
    Layers,
    LayersB,
    MeasureOption,
    Memory,
    NetworkA,
    Output,
    Pairs,
    Precision,
    Quiet,
    Reduce,
    Truncate,
    Verbose,
    WeightsA,
    WeightsB,
)
from repscope.cli.output import deliver, explained, print_all
from repscope.comparison import load
from repscope.errors import InputError
from repscope.measures.catalog import CATALOG


def compare(
    context: typer.Context,
    a: NetworkA,
    b: Annotated[str | None, typer.Argument(metavar="B", help="The second; without it, within A.")] = None,
    data: Data = None,
    layers: Layers = None,
    layers_b: LayersB = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            help="See repscope measures; repeat for several.  [default: cka]",
            autocompletion=lambda: list(CATALOG),
        ),
    ] = None,
    kernel: Kernel = "linear",
    estimator: Annotated[Estimator, typer.Option(help="Of cka and hsic.")] = Estimator.UNBIASED,
    pairs: Annotated[Pairs, typer.Option(help="Pairs of examples: all is exact, batch estimates.")] = Pairs.AUTO,
    reduce: Reduce = "auto",
    option: MeasureOption = None,
    batch_size: BatchSize = 256,
    memory: Memory = None,
    weights: WeightsA = None,
    weights_b: WeightsB = None,
    image_size: ImageSize = None,
    truncate: Truncate = False,
    device: Device = None,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="Of what is drawn: weights (of B: N + 1), data, samples.")
    ] = 0,
    output: Output = None,
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
        Precision, typer.Option(help="Of the products of activations in cka and hsic.")
    ] = Precision.AUTO,
    intervals: Annotated[
        bool | None,
        typer.Option("--intervals/--no-intervals", help="Standard errors of cka and hsic.  [default: where cheap]"),
    ] = None,
    diagnostics: Annotated[
        bool,
        typer.Option(
            "--diagnostics/--no-diagnostics",
            help="Look at each layer by itself, too, and warn.  [default: yes]",
            show_default=False,
        ),
    ] = True,
    permutations: Annotated[
        int | None,
        typer.Option(min=19, metavar="N", help="Test any measure by N permutations of the examples, in memory."),
    ] = None,
    html: Html = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compare the layers of A with those of B or A itself."""
    from repscope.cli import files
    from repscope.cli.networks import Asked, Loading
    from repscope.cli.request import Request
    from repscope.engine import distributed

    with explained(verbose):
        ids = list(dict.fromkeys(measure or ["cka"]))
        settings = score_settings(
            measures=ids,
            kernel=kernel,
            estimator=estimator.value,
            option=option,
            reduce=reduce,
            batch_size=batch_size,
            memory=memory,
            quiet=quiet,
        )
        settings |= {
            "measure": ids,
            "pairs": pairs.value,
            "precision": precision.value,
            "intervals": "auto" if intervals is None else intervals,
            "diagnostics": diagnostics,
        }
        share = None if shard is None else parse_shard(shard)
        if permutations is not None:
            refused = {
                "--pairs": pairs is Pairs.BATCH,
                "--intervals": bool(intervals),
                "--plan": plan,
                "--shard": share is not None,
                "--checkpoint": checkpoint is not None,
                "--resume": resume,
            }
            if named := [option for option, given in refused.items() if given]:
                raise InputError(
                    f"compare: {named[0]} must be left out with --permutations, which score all examples in memory in "
                    "one process."
                )
        if share is not None:
            if checkpoint is None:
                raise InputError("compare: --shard must come with --checkpoint FILE, where the share's sums are left.")
            results = {"--output": output is not None, "--html": html is not None, "--json": as_json}
            if not plan and (named := [option for option, given in results.items() if given]):
                raise InputError(
                    f"compare: {named[0]} must be left out with --shard, which leaves sums in the checkpoint and no "
                    "results. Give it to repscope merge."
                )
        if resume:
            if output is None or checkpoint is not None:
                raise InputError("compare: --resume must come with -o DIR, and without --checkpoint FILE.")
            checkpoint = output / files.UNFINISHED
        if output is not None:
            files.check_folder(output, ids)
        if html is not None:
            files.check_page(html)
        if resume and output is not None and not plan:
            output.mkdir(parents=True, exist_ok=True)
        if b is None and (layers_b or weights_b is not None):
            given = "--layers-b" if layers_b else "--weights-b"
            raise InputError(f"compare: {given} must come with a second model, got A only. Name B after A.")
        networks = [Asked("A", a, weights)] + ([] if b is None else [Asked("B", b, weights_b, "--weights-b")])
        how = Loading("compare", data, image_size, truncate, device, seed)
        request = Request(tuple(networks), how, layers=(layers or None, layers_b or None))
        if plan:
            if share is not None and pairs is Pairs.AUTO:
                settings["pairs"] = Pairs.ALL.value  # shares do not choose for themselves
            print(request.plan(settings).explain())
            return
        if share is not None and checkpoint is not None:
            request.run_part(settings, share, checkpoint)
            if not quiet:
                print(f"wrote {checkpoint}", file=sys.stderr)
            return
        rank = distributed.join().index if distributed.launched() else 0
        if permutations is None:
            comparisons = request.run({**settings, "checkpoint": checkpoint})
        else:
            comparisons = request.test({**settings, "pairs": "all"}, permutations)
        if distributed.launched():
            distributed.leave()
        if rank > 0:
            return  # every process has the same numbers, one of them tells
        comparisons = [files.with_command(comparison, context.obj) for comparison in comparisons]
        deliver(comparisons, output, html, as_json=as_json, quiet=quiet, details=verbose)
        if resume and output is not None:
            files.remove_unfinished(output)


def merge(
    context: typer.Context,
    parts: Annotated[list[Path], typer.Argument(metavar="FILE...", help="All shares of one comparison.")],
    output: Output = None,
    html: Html = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Put the shares of a comparison together (compare --shard)."""
    from repscope.cli import files
    from repscope.cli.renaming import warnings_once
    from repscope.compare import merge

    with explained(verbose), warnings_once():
        if output is not None:
            files.check_folder(output, ["cka"])
        if html is not None:
            files.check_page(html)
        comparisons = [merge(parts)]
        comparisons = [files.with_command(comparison, context.obj) for comparison in comparisons]
        deliver(comparisons, output, html, as_json=as_json, quiet=quiet, details=verbose)


def report(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Comparisons that repscope wrote (.npz).")],
    html: Html = None,
    step: Annotated[
        list[float] | None,
        typer.Option(metavar="N", help="Training step of each file, in their order, for a report with a slider."),
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Heading of the report.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    verbose: Verbose = False,
) -> None:
    """Show saved comparisons with all their conventions, as text or as a page for the browser."""
    from repscope.cli.files import as_json as in_json
    from repscope.cli.files import by_step, check_page

    with explained(verbose):
        if html is not None:
            check_page(html)
        elif step or title is not None:
            raise InputError("report: --step and --title must come with --html FILE, the report that they are for.")
        comparisons = [load(file) for file in files]
        if html is not None:
            from repscope import report

            report.write(html, by_step(comparisons, step) if step else comparisons, title=title)
            print(f"wrote {html}", file=sys.stderr)
        if as_json:
            print(in_json(comparisons))
        elif html is None:
            print_all(comparisons, details=True)
