"""Records the layers of a torch model with forward hooks.

An activation is consumed *inside* the hook, the moment its module returns. What runs next, an in-place ReLU or a
residual ``+=``, may overwrite the tensor; by then its content has been used or copied. No graph is kept, nothing is
left on the model: hooks, train/eval flags, gradient mode and fast paths are as before, also after an exception.

What goes on during a forward pass:

- Every module is in eval mode and gradients are off. Submodules get back their own flags, also mixed ones.
- DataParallel and DistributedDataParallel are unwrapped: the pass runs on the module inside, on its device.
- Compiled modules run uncompiled, because compiled code passes hooks by or is compiled anew for each of them.
- Torch's fused transformer path, which passes hooks by, is switched off.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from itertools import chain
from operator import length_hint
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.jit import ScriptModule
from torch.nn.modules.lazy import LazyModuleMixin

from repscope._rows import Rows
from repscope.capture.activations import Shapes, input_of
from repscope.capture.data import (
    Batch,
    accepted_keywords,
    batch_items,
    batches,
    few_items,
    model_inputs,
    move,
)
from repscope.capture.layers import Layers, ModuleTable, select, unwrap
from repscope.capture.parts import Side
from repscope.capture.prepared import (
    Prepared,
    check_mask_accepted,
    check_one_kind_of_tokens,
    tokens_of,
    with_positions,
)
from repscope.capture.reduce import Reduce, check_rule
from repscope.capture.text import TextModel, text_of
from repscope.capture.trace import LayerInfo, PlannedLayer, Trace
from repscope.errors import CaptureError, InputError

Consumer = Callable[[str, Tensor], None]
Forward = Callable[[nn.Module, Batch], Any]

_FEW_ITEMS = 13
"""Items that are enough to find the layers: hardly any other axis of an activation has this length."""


class Capture:
    """The layers of a model, handed out batch by batch as matrices of (examples, features).

    As a context manager it keeps the model in eval mode with gradients off until the end of the block; outside of one
    every call does so for itself.

    Args:
        model: a torch module. Batches are moved to its device and floating-point inputs to its precision.
        layers: what to record: names, globs, words for parts such as ``"residual"``, module types, modules,
            predicates(name, module), or a list of these mixed; ``None`` for the default set. See
            :mod:`repscope.capture.layers`.
        reduce: how an activation becomes (examples, features): ``"auto"``, another name out of
            :data:`repscope.capture.reduce.REDUCTIONS`, a function of (activation, mask), or a mapping from layer globs
            to these.
        forward: a function of (model, batch) that runs the forward pass, for models that need more than
            ``model(x)`` or ``model(**batch)``.
        name: what messages call the model.

    Raises:
        InputError: the model is no torch module, a layer name is unknown, or a reduction is unknown.

    Example:
        >>> capture = Capture(model, "layer*")
        >>> with capture:
        ...     for batch in batches(loader):
        ...         capture.run(batch, lambda layer, x: sums[layer].add_(x.sum(0)))
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Layers = None,
        *,
        reduce: Reduce = "auto",
        forward: Forward | None = None,
        name: str = "model",
    ) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(f"Capture: {name} must be a torch.nn.Module, got {type(model).__name__}.")
        self.name = name
        self.layers: tuple[LayerInfo, ...] = ()
        self.model = model
        self._root = unwrap(model)
        if isinstance(self._root, ScriptModule):
            raise CaptureError(
                f"Capture: {name} must be a Python module, got one in TorchScript, inside which hooks do not reach. "
                "Pass the Python module that it came from."
            )
        self._table = ModuleTable.of(model)
        self._wanted = select(layers, self._table)
        self._reduce = check_rule(reduce, self._table.names)
        self._forward = forward
        self._text = model if isinstance(model, TextModel) else None
        self._plan: dict[tuple[str, Side, int], list[PlannedLayer]] = {}
        self._open: list[AbstractContextManager[None]] = []

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the layers in order of execution, known from the first batch on."""
        if not self.layers:
            raise CaptureError("Capture: names must be asked for after discover(batch) or the first run.")
        return tuple(layer.name for layer in self.layers)

    @property
    def levels(self) -> frozenset[str]:
        """The named reductions of the layers, which say what their examples are; known from the first batch on."""
        return frozenset(layer.level for layers in self._plan.values() for layer in layers)

    @property
    def sampled(self) -> dict[str, int]:
        """The layers of which some tokens are sampled, and how many tokens they have for each item."""
        found = [layer for layers in self._plan.values() for layer in layers if layer.level == "sample"]
        return {layer.info.name: layer.tokens for layer in found if layer.tokens is not None}

    def __enter__(self) -> Self:
        observing = _observing(self.model)
        observing.__enter__()
        self._open.append(observing)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._open.pop().__exit__(*exception)

    def prepare(self, batch: Batch | Prepared) -> Prepared:
        """A batch as the model is called on it, sentences tokenized, with what is known of its tokens.

        Raises:
            InputError: the batch is empty, or holds sentences and the model has no tokenizer.
            CaptureError: the attention mask isn't one.
        """
        if isinstance(batch, Prepared):
            return batch
        items = _items(batch)
        sentences = text_of(batch)
        if sentences is not None and (self._text is not None or self._forward is None or sentences is batch):
            if self._text is None:
                raise InputError(
                    f"Capture: {self.name} must have a tokenizer to run on text, got a {type(self._root).__name__} by "
                    "itself. Pass TextModel(model, tokenizer), or hf:NAME_OR_DIR on the command line."
                )
            batch, text = self._text.tokenize(sentences)
            return Prepared(batch, items, tokens_of(batch, text))
        batch = with_positions(batch, self._root)
        return Prepared(batch, items, tokens_of(batch))

    def discover(self, batch: Batch | Prepared) -> tuple[LayerInfo, ...]:
        """Runs one forward pass to find the layers, their order of execution and how often each is called.

        A dozen items of a batch of tensors are enough, if the model runs on so few. Where an activation could have its
        items on another axis, too, a pass over fewer items tells: it is the axis that shrinks. Modules that were asked
        for and don't run, or whose output isn't one row of numbers per item, are left out with a warning.

        Returns:
            The layers in order of execution; ``layers`` and ``names`` hold them from now on.

        Raises:
            CaptureError: no layer is left, a layer asked for by name has no usable output, its activation doesn't fit
                the reduction or the attention mask, or single tokens of an encoder are to be compared with those of a
                decoder.
        """
        prepared = self.prepare(batch)
        planned = self._planned_from_few(prepared) or self._planned(prepared)
        check_one_kind_of_tokens(planned, prepared.tokens)
        self._plan = {}
        for layer in planned:
            self._plan.setdefault((layer.module, layer.side, layer.call), []).append(layer)
        self.layers = tuple(layer.info for layer in planned)
        return self.layers

    def _planned_from_few(self, prepared: Prepared) -> Sequence[PlannedLayer] | None:
        # Other batches may hold lengths of sequences, and what these are in few items need not be so in all.
        tensors = [prepared.batch] if isinstance(prepared.batch, Tensor) else prepared.batch
        is_plain = type(tensors) in (tuple, list) and all(isinstance(x, Tensor) for x in tensors)
        few = few_items(prepared.batch, _FEW_ITEMS) if is_plain else None
        if few is None:
            return None
        try:
            return self._planned(self.prepare(few))
        except Exception:  # a model may have anything against few items; what it has against all of them comes out
            return None

    def _planned(self, prepared: Prepared) -> Sequence[PlannedLayer]:
        trace = self._traced(prepared)
        if trace.shapes.are_ambiguous and (fewer := self._shapes_of_fewer(prepared)) is not None:
            trace = self._traced(prepared, fewer)
        return trace.plan()

    def _shapes_of_fewer(self, prepared: Prepared) -> Shapes | None:
        """The shapes of the activations for fewer items; None where the batch or the model refuses."""
        assert prepared.items is not None
        few = few_items(prepared.batch, min(_FEW_ITEMS, prepared.items - 1))
        if few is None:
            return None
        try:
            return self._traced(self.prepare(few)).shapes
        except Exception:  # as above
            return None

    def _traced(self, prepared: Prepared, fewer: Shapes | None = None) -> Trace:
        trace = Trace(
            self._table, self._wanted, self._reduce, items=prepared.items, tokens=prepared.tokens, fewer=fewer
        )
        scripted = self._table.scripted
        # Tensors tell that they were changed in place, which the trace looks at, only outside inference mode.
        with ExitStack() as stack:
            for context in (self._observed(), torch.inference_mode(False), torch.no_grad(), _as_before(self._root)):
                stack.enter_context(context)
            for name, module in self._table.modules.items():
                if name in scripted:
                    continue
                before, after = trace.hooks(name)
                stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
                stack.callback(module.register_forward_hook(after, with_kwargs=True).remove)
            self._call(prepared.batch)
        return trace

    def run(self, batch: Batch | Prepared, consume: Consumer) -> None:
        """Runs one forward pass and hands every layer's representation of the batch to ``consume``.

        ``consume(name, x)`` is called inside the hook. ``x`` of shape (examples, features) is detached, has the
        model's device and precision, and is valid only during the call: copy it or reduce it there. If ``consume``
        raises, the forward pass ends and the exception comes out here. The first run does :meth:`discover` first.

        Raises:
            CaptureError: on this batch a layer has other features than on the first one, or isn't called as often.
        """
        prepared = self.prepare(batch)
        if not self._plan:
            self.discover(prepared)
        seen: Counter[tuple[str, Side]] = Counter()

        def take(name: str, side: Side, x: Any) -> None:
            for layer in self._plan.get((name, side, seen[name, side]), ()):
                consume(layer.info.name, layer.representation(x, prepared.items, prepared.tokens))
            seen[name, side] += 1

        def output_hook(name: str) -> Callable[..., None]:
            return lambda module, args, output: take(name, "output", output)

        def input_hook(name: str) -> Callable[..., None]:
            return lambda module, args, kwargs: take(name, "input", input_of(args, kwargs))

        expected = {(layer.module, layer.side): layer for layers in self._plan.values() for layer in layers}
        with self._observed(), torch.no_grad(), ExitStack() as hooks:
            for name, side in expected:
                module = self._table.modules[name]
                if side == "output":
                    hooks.callback(module.register_forward_hook(output_hook(name)).remove)
                else:
                    hooks.callback(module.register_forward_pre_hook(input_hook(name), with_kwargs=True).remove)
            self._call(prepared.batch)
        for key, layer in expected.items():
            if seen[key] != layer.calls:
                raise CaptureError(
                    f"Capture: layer '{key[0]}' of {self.name} must be called as often as on the first batch, "
                    f"{layer.calls} time(s), got {seen[key]}. Leave it out, or give all inputs one length."
                )

    def collect(self, batch: Batch) -> dict[str, Tensor]:
        """Runs one forward pass and returns a copy of every representation, in order of execution."""
        copies: dict[str, Tensor] = {}

        def copy(name: str, x: Tensor) -> None:
            copies[name] = x.clone(memory_format=torch.contiguous_format)

        self.run(batch, copy)
        return {name: copies[name] for name in self.names}

    def _observed(self) -> AbstractContextManager[None]:
        return nullcontext() if self._open else _observing(self.model)

    def _call(self, batch: Batch) -> None:
        device, dtype = _device_and_dtype(self._root)
        if self._forward is not None:
            self._forward(self._root, move(batch, device, dtype))
            return
        args, keywords = model_inputs(batch)
        if keywords:
            keywords = accepted_keywords(self._root.forward, keywords)
            check_mask_accepted(batch, keywords, self._root, self.name)
        self._root(*move(args, device, dtype), **move(keywords, device, dtype))


def representations(
    model: nn.Module,
    data: Any,
    layers: Layers = None,
    *,
    reduce: Reduce = "auto",
    forward: Forward | None = None,
    batch_size: int = 256,
    device: torch.device | str | None = None,
) -> dict[str, Tensor]:
    """The representations of a whole data set, in memory: for every layer one tensor (examples, features).

    Args:
        model: a torch module.
        data: batches, a Dataset or arrays; see :func:`repscope.capture.batches`.
        layers: which layers; see :class:`Capture`.
        reduce: how an activation becomes rows; see :class:`Capture`.
        forward: a function of (model, batch) that runs the forward pass.
        batch_size: items per batch where ``data`` doesn't come in batches.
        device: where the results are kept; ``None``: where the model is.

    Returns:
        Layer names in order of execution, with tensors in the model's precision.

    Raises:
        InputError: unknown layers or reduction, or empty data.
        CaptureError: a layer can't be recorded, or differs in its features between batches.
    """
    capture = Capture(model, layers, reduce=reduce, forward=forward)
    stream = batches(data, batch_size=batch_size, fold_smaller_than=0)
    kept: dict[str, Rows] = {}

    def keep(name: str, x: Tensor) -> None:
        if name not in kept:
            kept[name] = Rows(len(x) * length_hint(stream))
        kept[name].append(x.to(device or x.device))

    with capture:
        for batch in stream:
            capture.run(batch, keep)
    return {name: kept[name].take() for name in capture.names}


@contextmanager
def _observing(model: nn.Module) -> Iterator[None]:
    """Puts a model in the state for watching it, and everything back at the end, also after an exception."""
    # Of TorchScript that is frozen nothing can be set.
    flags = [(module, module.training) for module in model.modules() if hasattr(module, "training")]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
            # Code is compiled only where dynamo is loaded, and loading it takes seconds.
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            for module, _ in flags:
                module.training = False  # as eval() does, but without a model's own train(), which may freeze or merge
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_path)
            for module, training in flags:
                module.training = training


@contextmanager
def _as_before(model: nn.Module) -> Iterator[None]:
    """Puts back what a forward pass changes in the attributes and buffers of the modules, such as a hidden state.

    Attributes get back their objects, and of these tensors their content; parameters are no concern of this.
    """
    # Lazy modules become other ones on their first call, and are to stay so.
    modules = [m for m in model.modules() if not isinstance(m, (ScriptModule, LazyModuleMixin))]
    places: list[dict[str, Any]] = [place for m in modules for place in (vars(m), m._buffers)]
    before = [dict(place) for place in places]
    tensors = [x for attributes in before for x in attributes.values() if isinstance(x, Tensor)]
    written = {id(x): (x, x._version, x.clone()) for x in tensors if not (x.is_inference() or x.requires_grad)}
    try:
        yield
    finally:
        for place, attributes in zip(places, before, strict=True):
            for key in place.keys() - attributes.keys():
                del place[key]
            place.update(attributes)
        for x, version, content in written.values():
            if x._version != version:
                x.copy_(content)


def _device_and_dtype(model: nn.Module) -> tuple[torch.device, torch.dtype | None]:
    """The device of a model's first parameter or buffer, and the precision of the first floating-point one."""
    tensors = list(chain(model.parameters(), model.buffers()))
    device = tensors[0].device if tensors else torch.device("cpu")
    return device, next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), None)


def _items(batch: Batch) -> int | None:
    """The number of items in a batch; None for an object that doesn't say."""
    try:
        items = batch_items(batch)
    except InputError:
        return None
    if items == 0:
        raise InputError("Capture: batch must hold at least one item, got none.")
    return items
