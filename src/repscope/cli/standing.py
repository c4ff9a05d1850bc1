"""``repscope baselines`` and ``difference``: what a score is to be read against, and whether one is the larger."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from repscope.baselines import Baselines, baselines
from repscope.cli.arguments import score_settings
from repscope.cli.networks import Asked, Loaded, Loading
from repscope.cli.options import (
    AsJson,
    BatchSize,
    Data,
    Device,
    Estimator,
    ImageSize,
    Kernel,
    Layers,
    LayersB,
    MeasureOption,
    Memory,
    NetworkA,
    Quiet,
    Reduce,
    Truncate,
    Verbose,
    WeightsA,
    WeightsB,
)
from repscope.cli.output import explained
from repscope.comparison import Comparison
from repscope.differences import Difference, difference
from repscope.errors import InputError
from repscope.measures.catalog import CATALOG, configure

_LINES = 60
"""Differences that are printed; more are told by their number."""

Measure = Annotated[
    str, typer.Option(metavar="ID", help="See repscope measures.", autocompletion=lambda: list(CATALOG))
]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Of what is drawn: weights, data.")]


def _output(name: str) -> Any:
    return typer.Option("--output", "-o", metavar="DIR", help=f"Write comparison.npz, {name}.json and {name}.png.")


def baselines_command(
    context: typer.Context,
    a: NetworkA,
    b: Annotated[str, typer.Argument(metavar="B", help="The second.")],
    data: Data = None,
    like: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="As A, from another seed: for the ceiling; repeatable."),
    ] = None,
    like_weights: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Of each --like; without any --like, of further copies of A."),
    ] = None,
    untrained: Annotated[
        str, typer.Option(metavar="MODEL", help="As B, not trained; auto: B with weights drawn anew; none.")
    ] = "auto",
    inputs: Annotated[
        str, typer.Option(metavar="WHAT", help="auto: what the models run on; none; beside stored arrays a file.")
    ] = "auto",
    layers: Layers = None,
    layers_b: LayersB = None,
    measure: Measure = "cka",
    kernel: Kernel = "linear",
    estimator: Annotated[Estimator, typer.Option(help="Of cka and hsic.")] = Estimator.UNBIASED,
    option: MeasureOption = None,
    reduce: Reduce = "auto",
    batch_size: BatchSize = 256,
    memory: Memory = None,
    weights: WeightsA = None,
    weights_b: WeightsB = None,
    image_size: ImageSize = None,
    truncate: Truncate = False,
    device: Device = None,
    seed: Seed = 0,
    output: Annotated[Path | None, _output("baselines")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Set each layer's score between other seeds, an untrained network, the inputs and chance."""
    with explained(verbose):
        settings = score_settings(
            measures=[measure],
            kernel=kernel,
            estimator=estimator.value,
            option=option,
            reduce=reduce,
            batch_size=batch_size,
            memory=memory,
            quiet=quiet,
        )
        _check_output(output, "baselines")
        files, copies = list(like_weights or []), list(like or [])
        if copies and files and len(copies) != len(files):
            raise InputError(
                f"baselines: --like-weights must be given once for each --like, got {len(files)} for {len(copies)}. "
                "Without any --like they are of further copies of A."
            )
        copies = copies or [a] * len(files)
        asked = [Asked("A", a, weights), Asked("B", b, weights_b, "--weights-b")]
        asked += [Asked("--like", spec, files[i] if files else None, "--like-weights") for i, spec in enumerate(copies)]
        if untrained not in ("auto", "none"):
            asked.append(Asked("--untrained", untrained))
        how = Loading("baselines", data, image_size, truncate, device, seed)
        with how.loaded(asked) as loaded:
            first, second, *others = loaded.networks
            found = baselines(
                first,
                second,
                data=loaded.data,
                seeds=others[: len(copies)],
                untrained={"auto": "auto", "none": None}.get(untrained, loaded.networks[-1]),
                inputs=_inputs(inputs, of_models=loaded.data is not None),
                layers=(layers or None, layers_b or layers or None),
                measure=measure,
                seed=seed,
                **settings,
            )
            found = _named(found, loaded, context.obj)
        _deliver("baselines", found, found.comparison, str(found), output, as_json=as_json, quiet=quiet)


def difference_command(
    context: typer.Context,
    a: NetworkA,
    b: Annotated[str, typer.Argument(metavar="B", help="Another, with as many layers.")],
    x: Annotated[str, typer.Argument(metavar="X", help="What both are compared with.")],
    data: Data = None,
    layers: Layers = None,
    layers_b: LayersB = None,
    layers_x: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="The same for X, if they differ.")] = None,
    measure: Measure = "cka",
    kernel: Kernel = "linear",
    estimator: Annotated[Estimator, typer.Option(help="Of cka and hsic.")] = Estimator.UNBIASED,
    option: MeasureOption = None,
    reduce: Reduce = "auto",
    batch_size: BatchSize = 256,
    memory: Memory = None,
    weights: WeightsA = None,
    weights_b: WeightsB = None,
    weights_x: Annotated[str | None, typer.Option(metavar="FILE", help="Of X.")] = None,
    image_size: ImageSize = None,
    truncate: Truncate = False,
    device: Device = None,
    seed: Seed = 0,
    output: Annotated[Path | None, _output("difference")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say whether A is more like X than B is, layer by layer, on the same examples: score (A, X) less score (B, X)."""
    from repscope.compare import compare

    with explained(verbose):
        if configure(measure).measure.id not in ("cka", "hsic"):
            raise InputError(
                f"difference: --measure must be cka or hsic, which have scores without each example, got {measure!r}."
            )
        settings = score_settings(
            measures=[measure],
            kernel=kernel,
            estimator=estimator.value,
            option=option,
            reduce=reduce,
            batch_size=batch_size,
            memory=memory,
            quiet=quiet,
        )
        _check_output(output, "difference")
        asked = [
            Asked("A", a, weights),
            Asked("B", b, weights_b, "--weights-b"),
            Asked("X", x, weights_x, "--weights-x"),
        ]
        how = Loading("difference", data, image_size, truncate, device, seed)
        with how.loaded(asked) as loaded:
            names = loaded.names
            chosen = [layers or None, layers_b or layers or None, layers_x or layers or None]
            scores = compare(
                dict(zip(names, loaded.networks, strict=True)),
                data=loaded.data,
                layers=dict(zip(names, chosen, strict=True)),
                measure=measure,
                pairs="all",  # an estimate has no scores without each example
                replicates=True,
                seed=seed,
                **settings,
            )
            scores = replace(scores, details={**scores.details, "command": context.obj})
            first, second = (scores.between(name, names[2]) for name in names[:2])
            if first.values.shape != second.values.shape:
                raise InputError(
                    f"difference: A and B must have as many layers each, got {len(first.row_layers)} and "
                    f"{len(second.row_layers)}. Choose them with --layers and --layers-b."
                )
            found = difference(first, second)
        _deliver("difference", found, scores, "\n".join(_lines(found)), output, as_json=as_json, quiet=quiet)


def _check_output(output: Path | None, command: str) -> None:
    """Refuse a folder that holds files of others before anything is computed."""
    from repscope.cli.files import beside_names, check_names

    if output is not None:
        check_names(output, beside_names(command), command)


def _inputs(text: str, *, of_models: bool) -> Any:
    from repscope import loading

    if text in ("auto", "none"):
        return False if text == "none" else "auto"
    if of_models or not loading.is_stored(text):
        raise InputError(
            f"baselines: --inputs must be auto or none{'' if of_models else ' or a file of one array'}, got {text!r}."
        )
    found = loading.load_data(text)
    if isinstance(found, dict):
        raise InputError(f"baselines: --inputs must be a file of one array, got {len(found)} in {text!r}.")
    return found


def _named(found: Baselines, loaded: Loaded, command: str) -> Baselines:
    from repscope.cli.files import with_command
    from repscope.cli.renaming import with_names

    return replace(found, comparison=with_command(with_names(found.comparison, loaded.names, loaded.renamed), command))


def _lines(found: Difference) -> list[str]:
    """Each difference with its interval, and all in a sentence."""
    lines = []
    if 1 < found.values.size <= _LINES:
        p_values, (low, high) = found.p_values, found.interval()
        left = max(len(one) for row in found.names for one, _ in row)
        right = max(len(other) for row in found.names for _, other in row)
        for i, row in enumerate(found.names):
            lines += [
                f"{one:<{left}}  −  {other:<{right}}  {found.values[i, j]:+.3f}  "
                f"[{low[i, j]:+.3f}, {high[i, j]:+.3f}]  p = {p_values[i, j]:.2g}"
                for j, (one, other) in enumerate(row)
            ]
    one, _ = found.parts
    return [f"{one.label}, {one.n} examples; 95 % intervals", *lines, str(found)]


def _deliver(
    command: str,
    found: Baselines | Difference,
    scores: Comparison,
    text: str,
    output: Path | None,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    from repscope.cli.files import write_beside

    written: list[Path] = []
    if output is not None:  # first: whoever reads what is printed may leave early
        ax = found.plot()
        if isinstance(found, Baselines):
            ax.legend(frameon=False, fontsize="x-small")
        written = write_beside(output, command, scores, found.to_json(), ax)
    if as_json:
        print(found.to_json())
    elif not quiet:
        print(text)
    if written and not quiet:
        print(f"wrote {', '.join(map(str, written))}", file=sys.stderr)
