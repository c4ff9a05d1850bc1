"""The conductor: data and models in, capture and engine at work, a :class:`Comparison` out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload
from uuid import uuid4

from repscope.comparison import Comparison
from repscope.errors import InputError
from repscope.measures._messages import check_seed, is_whole
from repscope.measures.catalog import configure
from repscope.measures.kernels import KernelLike
from repscope.measures.measure import ConfiguredMeasure

if TYPE_CHECKING:  # loaded where they are used: `import repscope` stays short, and so does the command line's help
    from repscope.engine.plan import Plan
    from repscope.job import Job


@overload
def compare(a: Any, b: Any = None, *, measure: str | ConfiguredMeasure = "cka", **settings: Any) -> Comparison: ...
@overload
def compare(
    a: Any, b: Any = None, *, measure: Sequence[str | ConfiguredMeasure], **settings: Any
) -> dict[str, Comparison]: ...
def compare(
    a: Any,
    b: Any = None,
    *,
    data: Any = None,
    measure: str | ConfiguredMeasure | Sequence[str | ConfiguredMeasure] = "cka",
    layers: Any = None,
    kernel: KernelLike = "linear",
    estimator: str = "unbiased",
    pairs: Literal["auto", "all", "batch"] = "auto",
    reduce: Any = "auto",
    forward: Callable[..., Any] | None = None,
    batch_size: int = 256,
    memory: float | str | None = None,
    seed: int = 0,
    progress: bool | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    precision: str = "auto",
    intervals: str | bool | int = "auto",
    replicates: bool = False,
    diagnostics: bool = True,
    **options: Any,
) -> Comparison | dict[str, Comparison]:
    """Compare the layers of networks, every layer with every other.

    One pass over the data feeds all models the same batches, so a shuffled loader is safe.

    Args:
        a: A torch module; a mapping of layer names to arrays (n, p); a path to stored representations (.npy, .npz,
            .safetensors) or activations (the directory that ``repscope capture`` made); or a mapping of model names to
            any of these, for all models against all.
        b: The second model, in any of these forms but the last; None to compare within ``a``.
        data: What the models are run on: a DataLoader, an iterable of batches, a Dataset, or arrays. Batches are
            tensors, packed sequences, tuples (x, y), dicts passed by keyword, or whatever ``forward`` takes. Not used
            for arrays and paths.
        measure: An id of ``repscope.measures()``, a measure settled by ``repscope.configure``, or a list of these,
            which share the pass over the data.
        layers: Names, globs, module types or predicates, in a list where there are several; a tuple of two, one for
            ``a`` and one for ``b``; None for the default set (see :mod:`repscope.capture.layers`).
        kernel: Kernel of HSIC and CKA: ``"linear"``, ``RBF(0.4)`` …
        estimator: Estimator of HSIC and CKA: ``"unbiased"`` or ``"biased"``.
        pairs: ``"all"``: every pair of examples, the exact value of the whole data set. ``"batch"``: pairs within a
            batch, the minibatch estimate of Nguyen et al. (2021), wrong on ordered data. ``"auto"``: exact unless that
            would cost several times the forward passes; the result says which.
        reduce: How an activation becomes (examples, features): ``"auto"`` (convolution maps flattened as in the
            paper, token layers averaged under their mask), ``"flatten"``, ``"mean"``, ``"positions"``, ``"tokens"``,
            ``"sample"`` (of the tokens; ``"sample:4"`` draws 4 of each item, ``"sample:4:7"`` by seed 7), ``"words"``,
            ``"characters"``, ``"first"``, ``"last"``, a function, or a mapping from layer globs to these.
        forward: A function of (model, batch), for models that need more than ``model(x)`` or ``model(**batch)``.
        batch_size: Examples per batch, where ``data`` does not come in batches.
        memory: Budget for activations and tiles, in bytes or as text such as ``"4GB"``; None: half of what is free.
        seed: For the sample of examples that sets a radial kernel's bandwidth in large data sets.
        progress: Show a bar on stderr; None: where stderr is a terminal.
        checkpoint: A file for the sums of HSIC and CKA, written every few seconds. Where it exists, the comparison goes
            on from it; an interrupted call loses nothing but the last seconds.
        precision: Of the products of activations in HSIC and CKA: ``"auto"`` (their own), ``"float32"``, ``"float64"``,
            ``"bfloat16"``, or ``"tf32"`` on NVIDIA GPUs. Sums are always double precision.
        intervals: Jackknife standard errors of HSIC and CKA in ``standard_errors``; see :meth:`Comparison.interval`.
            ``"auto"``: where they cost no further pass over the data; True: or an error that says why not; False: none;
            a number: leave out so many consecutive examples at a time, where these belong together.
        replicates: Keep the scores without these examples, for :func:`repscope.difference`; or an error that says why
            they cannot be had.
        diagnostics: Look at each layer by itself, too, and warn where its scores mean little: a few examples, one
            direction or one feature decides them, examples are repeated. False saves a quarter to a half of the time
            over wide layers (``python -m benchmarks.whole_models``).
        **options: Further options of the measure, such as ``summary="mean"``.

    Returns:
        A :class:`Comparison`; for a list of measures a dict of them by label. For ``hsic``, ``cka``, ``cca`` and
        ``svcca`` (R²), ``linear_regression`` (in the sample), ``canonical_ridge``, ``ensd``, ``eigenspace_overlap``,
        ``gulp``, ``distance_correlation`` (unbiased) and ``mutual_knn`` it holds the chance level of every pair:
        ``null_mean`` and ``null_sd`` over all permutations of the examples of one side, exact (within the batches for
        ``pairs="batch"``), and, but for ``mutual_knn``, ``p_values`` by a gamma distribution of these moments. For
        other measures see :func:`permutation_test`.

    Raises:
        InputError: For arguments, data or activations that would give meaningless numbers.
        CaptureError: For layers that cannot be recorded.

    Warns:
        DataOrderWarning: With ``pairs="batch"`` on data that come in an order.
        DegenerateInputWarning: For constant layers; their scores are NaN.
        RankWarning: For CCA-like measures with too few examples.
        DiagnosticWarning: For layers whose scores mean little, unless ``diagnostics=False``.
        CaptureWarning: For models and data whose activations differ from what one may expect.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((50, 8))
        >>> result = compare({"one": x, "two": x[:, :3]}, {"three": 2 * x})
        >>> result.values.shape, round(float(result.values[0, 0]), 6)
        ((2, 1), 1.0)
    """
    job, measures, data, forward = _settle(
        a,
        b,
        data=data,
        measure=measure,
        layers=layers,
        kernel=kernel,
        estimator=estimator,
        pairs=pairs,
        reduce=reduce,
        forward=forward,
        batch_size=batch_size,
        memory=memory,
        seed=seed,
        progress=progress,
        checkpoint=checkpoint,
        precision=precision,
        intervals=intervals,
        replicates=replicates,
        diagnostics=diagnostics,
        **options,
    )
    results = job.run(measures, data, forward)
    if isinstance(measure, str | ConfiguredMeasure):
        return results[0]
    return {m.label: result for m, result in zip(measures, results, strict=True)}


def compare_part(
    a: Any, b: Any = None, *, shard: tuple[int, int], path: str | os.PathLike[str], **settings: Any
) -> None:
    """One share of a comparison, for jobs that run apart; :func:`merge` puts the shares together.

    The shares are of batches (``pairs="batch"``, or few features in all) or of blocks of rows. Every job gets the same
    models, data and settings, with ``memory`` as a number where the machines differ. A job that was interrupted goes on
    from its file.

    Args:
        a: As for :func:`compare`.
        b: As for :func:`compare`.
        shard: (k, count) for the k-th of ``count`` shares, k from 1.
        path: File for this share's sums; a checkpoint while it runs.
        **settings: All other arguments of :func:`compare`. The measure is HSIC or CKA; others have no sums that merge.
            ``pairs="auto"`` stands for ``"all"``: jobs that chose for themselves could choose differently.

    Raises:
        InputError: As for :func:`compare`; also where the file holds other work.
    """
    from repscope.engine.partial import Shard

    for name, nothing in {"replicates": (False,), "intervals": ("auto", False)}.items():
        if (got := settings.get(name, nothing[0])) not in nothing:
            raise InputError(f"compare_part: {name} must be left out, got {got!r}. Only the whole comparison has them.")
    pairs = settings.get("pairs", "auto")
    settings |= {"pairs": "all" if pairs == "auto" else pairs, "checkpoint": path}
    job, measures, data, forward = _settle(a, b, **settings)
    job.run_part(measures, data, forward, Shard(shard[0] - 1, shard[1]))


def merge(paths: Sequence[str | os.PathLike[str]]) -> Comparison:
    """Put the shares of a comparison together: the same scores and chance levels as from one process.

    There are no standard errors: the jackknife needs all activations, and shares hold sums.

    Args:
        paths: The files that :func:`compare_part` wrote, all shares of one comparison, in any order.

    Returns:
        The comparison.

    Raises:
        InputError: Shares are missing, doubled, unfinished, or of different comparisons.
        FileFormatError: A file is damaged or no partial result.
    """
    from repscope.assembly import from_partials
    from repscope.partials import read_all

    return from_partials(*read_all(paths))


def plan_comparison(a: Any, b: Any = None, **settings: Any) -> Plan:
    """What :func:`compare` would do for HSIC or CKA: route, passes, work and memory. Computes one batch only.

    Args:
        a: As for :func:`compare`.
        b: As for :func:`compare`.
        **settings: All other arguments of :func:`compare`.

    Returns:
        The plan; ``print(plan.explain())`` shows it.

    Raises:
        InputError: As for :func:`compare`; also for measures other than HSIC and CKA.
    """
    job, measures, data, forward = _settle(a, b, **settings)
    return job.plan(measures, data, forward)


def representations(model: Any, data: Any, layers: Any = None, **settings: Any) -> dict[str, Any]:
    """The representations of a model on a whole data set, in memory; see :func:`repscope.capture.representations`.

    Args:
        model: A torch module.
        data: What it is run on, as for :func:`compare`.
        layers: Which layers, as for :func:`compare`.
        **settings: ``reduce``, ``forward``, ``batch_size`` and ``device``.

    Returns:
        Layer name, in execution order, to a tensor (examples, features).

    Raises:
        InputError: For unknown layers or unusable data.
        CaptureError: For layers that cannot be recorded.
    """
    from repscope import capture

    return dict(capture.representations(model, data, layers, **settings))


def _settle(
    a: Any,
    b: Any,
    *,
    data: Any = None,
    measure: str | ConfiguredMeasure | Sequence[str | ConfiguredMeasure] = "cka",
    layers: Any = None,
    kernel: KernelLike = "linear",
    estimator: str = "unbiased",
    pairs: str = "auto",
    reduce: Any = "auto",
    forward: Callable[..., Any] | None = None,
    batch_size: int = 256,
    memory: float | str | None = None,
    seed: int = 0,
    progress: bool | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    precision: str = "auto",
    intervals: str | bool | int = "auto",
    replicates: bool = False,
    diagnostics: bool = True,
    **options: Any,
) -> tuple[Job, list[ConfiguredMeasure], Any, Callable[..., Any] | None]:
    """The arguments of :func:`compare`, checked and settled."""
    from repscope.engine.plan import memory_budget
    from repscope.engine.products import check_precision
    from repscope.inference.jackknife import check_intervals
    from repscope.job import Job
    from repscope.subjects import resolve

    wanted = [measure] if isinstance(measure, str | ConfiguredMeasure) else list(measure)
    if not wanted:
        raise InputError("compare: measure must name at least one measure, got none. See repscope.measures().")
    measures = _configure(wanted, kernel, estimator, options)
    labels = [m.label for m in measures]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise InputError(
            f"compare: measure must hold each measure once, got {twice[0]} twice. Leave one out; callables need names "
            "of their own."
        )
    if pairs not in ("auto", "all", "batch"):
        raise InputError(f"compare: pairs must be 'auto', 'all' or 'batch', got {pairs!r}.")
    if not is_whole(batch_size) or batch_size < 1:
        raise InputError(f"compare: batch_size must be a positive whole number, got {batch_size!r}.")
    check_seed("compare", seed)
    settled = check_intervals("compare", intervals)
    if replicates and settled is False:
        raise InputError("compare: intervals must be left out with replicates=True, got False, which asks for none.")
    subjects, against = resolve(a, b, layers)
    job = Job(
        subjects=subjects,
        against=against,
        pairs=pairs,
        reduce=reduce,
        batch_size=batch_size,
        memory=None if memory is None else memory_budget(memory),
        seed=seed,
        progress=progress,
        checkpoint=checkpoint,
        precision=check_precision(precision),
        intervals=True if replicates and settled == "auto" else settled,
        examples=uuid4().hex if replicates else None,
        diagnostics=diagnostics,
    )
    return job, measures, data, forward


def _configure(
    measures: Sequence[str | ConfiguredMeasure], kernel: KernelLike, estimator: str, options: Mapping[str, Any]
) -> list[ConfiguredMeasure]:
    """Settle the options of measures given by id; an option goes to every measure that has it."""
    by_id = [configure(m) for m in measures if not isinstance(m, ConfiguredMeasure)]
    given = {"kernel": kernel, "estimator": estimator, **options}
    changed = [
        *options,
        *(["kernel"] if kernel != "linear" else []),
        *(["estimator"] if estimator != "unbiased" else []),
    ]
    for name in changed:
        if not any(name in m.measure.options for m in by_id):
            ids = ", ".join(m.id for m in by_id) or "measures configured before"
            raise InputError(f"compare: {name} must be an option of the measure, got {given[name]!r} for {ids}.")
    return [
        m
        if isinstance(m, ConfiguredMeasure)
        else configure(m, **{k: v for k, v in given.items() if k in configure(m).measure.options})
        for m in measures
    ]
