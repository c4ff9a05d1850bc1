"""One watched forward pass: which layers run, in which order, how often, and what shape their activations have."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from repscope.capture.activations import Layout, Shapes, activation_of, head_of, input_of
from repscope.capture.layers import (
    Call,
    ModuleTable,
    Role,
    Wanted,
    default_layers,
    is_leaf,
    is_spread,
    role_of,
)
from repscope.capture.parts import Side, Tap
from repscope.capture.reduce import Reduce, Reduction, name_of, reduce_activation, rule_for
from repscope.capture.tokens import BatchTokens, Tokens
from repscope.errors import CaptureError, CaptureWarning

_READS_ENCODER = re.compile(r"(EncDec|[Cc]ross|encoder_attn).*\.(k|v|key|value|k_proj|v_proj)$")
"""Modules inside a decoder that run on the encoder's tokens: the keys and values of its cross-attention."""


@dataclass(frozen=True)
class LayerInfo:
    """What is known of a layer after one forward pass.

    Attributes:
        name: the name in the model; ``name#k`` for call k of a module that is called several times.
        kind: the class name of the module.
        shape: the shape of the activation in that pass, batch axis included; (items, tokens, features) also where the
            module has the tokens of all items in one axis.
        features: columns of the representation.
        examples_per_item: rows of the representation for each item of the batch; NaN if the batch doesn't say how many
            items it holds (a custom object).
        dtype: type of the representation's numbers, such as ``"float32"``.
        device: where they are, such as ``"cpu"``.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    features: int
    examples_per_item: float
    dtype: str = "float32"
    device: str = "cpu"


@dataclass(frozen=True)
class PlannedLayer:
    """A layer to record: one call of a module, and how its output becomes a representation.

    Attributes:
        info: the facts.
        module: the name of the module.
        side: whether it is the module's output or its first input.
        call: which of its calls in a forward pass.
        calls: how many there are.
        recipe: from activation to matrix.
    """

    info: LayerInfo
    module: str
    side: Side
    call: int
    calls: int
    recipe: Recipe

    @property
    def level(self) -> str:
        """The name of its reduction; of a function ``"tokens"``, if it doesn't give one example an item, or nothing."""
        if isinstance(self.recipe.how, str):
            return name_of(self.recipe.how)
        return "" if self.info.examples_per_item == 1 else "tokens"

    @property
    def tokens(self) -> int | None:
        """Tokens of each item, in the traced batch; None for other activations than tokens."""
        shape = self.info.shape
        return shape[1 - self.recipe.item_axis] if len(shape) == 3 else None

    def representation(self, output: Any, items: int | None, tokens: BatchTokens) -> Tensor:
        """The (examples, features) matrix of one batch, checked against the traced batch."""
        name = self.info.name
        x = activation_of(output)
        if x is None:
            raise CaptureError(
                f"Capture: layer '{name}' must return a floating-point tensor in every batch, got "
                f"{type(output).__name__}. Leave it out."
            )
        matrix = self.recipe.matrix(x, items, tokens, name)
        if matrix.shape[1] != self.info.features:
            raise CaptureError(
                f"Capture: layer '{name}' must have the same features in every batch, got {matrix.shape[1]} from shape "
                f"{tuple(x.shape)} after {self.info.features} from shape {self.info.shape} in the first batch. "
                "Give all inputs one size, or average over positions with reduce='mean'."
            )
        return matrix


@dataclass(frozen=True)
class Recipe:
    """How an activation is laid out, and the reduction that makes a matrix of it.

    Attributes:
        how: the reduction.
        item_axis: the axis of the items.
        features_last: whether the features of an activation with 3 or more axes are its last axis.
        target: whether its tokens are those of the decoder of an encoder-decoder.
        tap: for a head, which part of the features it is.
    """

    how: str | Reduction
    item_axis: int
    features_last: bool
    target: bool = False
    tap: Tap | None = None

    def matrix(self, x: Tensor, items: int | None, tokens: BatchTokens, layer: str) -> Tensor:
        """The activation as (examples, features)."""
        rows = x.shape[self.item_axis]
        if items is not None and rows % items:
            raise CaptureError(
                f"Capture: layer '{layer}' must have one or more rows for each of the {items} items of the batch, got "
                f"shape {tuple(x.shape)}. Leave it out."
            )
        of_layer = self.tokens(tokens)
        by_item = of_layer.apart(x.detach().movedim(self.item_axis, 0))
        if self.tap is not None and self.tap.head is not None:
            by_item = head_of(by_item, self.tap.head, self.tap.heads, layer)
        return reduce_activation(by_item, self.how, tokens=of_layer, features_last=self.features_last, layer=layer)

    def tokens(self, tokens: BatchTokens) -> Tokens:
        """Which of the tokens of a batch are those of the layer."""
        return tokens.target if self.target else tokens.source


class Trace:
    """Hooks for all modules of a model that note every call; afterwards, the plan of what to record.

    Args:
        table: the modules.
        wanted: the selected layers, None for the default set.
        reduce: the rule for making matrices.
        items: the number of items in the traced batch, None if it doesn't say.
        tokens: its tokens.
        fewer: what is known from a pass over fewer items.

    Attributes:
        shapes: those of the activations.
    """

    def __init__(
        self,
        table: ModuleTable,
        wanted: Wanted | None,
        reduce: Reduce,
        *,
        items: int | None,
        tokens: BatchTokens,
        fewer: Shapes | None = None,
    ) -> None:
        self.shapes, self._fewer = Shapes(items), fewer
        self._table, self._wanted, self._reduce = table, wanted, reduce
        self._items, self._tokens = items, tokens
        self._in_target = False  # an encoder-decoder has come to its decoder
        self._inputs: Counter[str] = Counter()  # calls of the modules whose inputs are layers
        self._tapped: dict[Call, tuple[Tap, int]] = {}
        self._tap_counts: Counter[str] = Counter()  # of layers without a module of their own
        self._counts: Counter[str] = Counter()
        self._calls: list[Call] = []
        self._described: dict[Call, LayerInfo | Exception] = {}
        self._recipes: dict[Call, Recipe] = {}
        self._layout = Layout()
        self._items_second = any(getattr(m, "batch_first", True) is False for m in table.modules.values())
        # The output of the module that returned last, its version (counts changes in place) and its number.
        self._last: tuple[Tensor | None, int] = (None, 0)
        self._outputs = 0
        # The state on entering the leaf module that runs now.
        self._continues = self._was_spread = False

    def hooks(self, name: str) -> tuple[Callable[..., None], Callable[..., None]]:
        """The hooks for one module, for before and after its forward, both ``with_kwargs``."""
        taps = [] if self._wanted is None else [tap for tap in self._wanted.taps if tap.module == name]

        def before(module: nn.Module, args: Any, kwargs: Any) -> None:
            self._in_target |= self._tokens.has_target and name.rpartition(".")[2] == "decoder"
            if is_leaf(module):
                x = activation_of((args, kwargs))
                self._continues = self._is_last(x)
                self._was_spread = x is not None and is_spread(x)
            for tap in taps:
                self._note_input(tap, module, input_of(args, kwargs))
            self._inputs[name] += 1

        def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            self._note(name, module, activation_of(output))

        return before, after

    def plan(self) -> list[PlannedLayer]:
        """The layers to record, in order of execution.

        Raises:
            CaptureError: see :meth:`repscope.capture.Capture.discover`.
        """
        self._report_silent()
        if self._wanted is None:
            chosen = default_layers(self._calls)
        else:
            chosen = self._usable([call for call in self._calls if self._is_wanted(call)])
        if not chosen:
            raise CaptureError(
                "Capture: model must run at least one of the layers to record, got none with a floating-point output "
                f"that has rows for the items of the batch; modules that ran: {_listed(list(self._counts)) or 'none'}. "
                "Name others with layers=, or pass forward=, a function of (model, batch)."
            )
        return [self._planned(call) for call in chosen]

    def _note(self, name: str, module: nn.Module, x: Tensor | None) -> None:
        role = role_of(name, self._table)
        item_axis = None if x is None else self._item_axis(module, x, (name, self._counts[name], False))
        features_last = x is not None and self._layout.features_last(module, role, x)
        pools_all = role is Role.ELEMENT and "Pool" in type(module).__name__ and self._was_spread
        call = Call(
            name=name,
            index=self._counts[name],
            role=role,
            usable=x is not None and item_axis is not None and self._is_usable(x.shape[item_axis]),
            output=self._number(role, x),
            continues=self._continues,
            spread=x is not None and is_spread(x),
            pools_all=pools_all and x is not None and not is_spread(x),
        )
        self._counts[name] += 1
        self._calls.append(call)
        if self._wanted is None:
            is_candidate = role not in (Role.OTHER, Role.PASS_THROUGH)
        else:
            is_candidate = self._wanted.has(name, call.index)
        if is_candidate:
            self._prepare(call, module, x, item_axis, features_last)

    def _note_input(self, tap: Tap, module: nn.Module, x: Tensor | None) -> None:
        if tap.first and self._tap_counts[tap.layer]:
            return
        item_axis = None if x is None else self._item_axis(module, x, (tap.layer, self._tap_counts[tap.layer], True))
        call = Call(
            name=tap.layer,
            index=self._tap_counts[tap.layer],
            role=Role.OTHER,
            usable=x is not None and item_axis is not None and self._is_usable(x.shape[item_axis]),
            output=-1,
            continues=False,
            spread=False,
            pools_all=False,
        )
        self._tap_counts[tap.layer] += 1
        self._calls.append(call)
        self._tapped[call] = tap, self._inputs[tap.module]
        features_last = x is not None and self._layout.features_last(module, Role.OTHER, x)
        self._prepare(call, module, x, item_axis, features_last)

    def _prepare(
        self, call: Call, module: nn.Module, x: Tensor | None, item_axis: int | None, features_last: bool
    ) -> None:
        """Notes how a call that may be chosen becomes a representation."""
        if x is not None and item_axis is not None and call.usable:
            tap, _ = self._tapped.get(call, (None, 0))
            how = rule_for(self._reduce, f"{call.name}#{call.index}")
            target = self._in_target and not _READS_ENCODER.search(call.name)
            recipe = Recipe(how, item_axis, features_last, target, tap)
            self._recipes[call] = recipe
            try:
                self._described[call] = self._describe(call, module, x, recipe)
            except Exception as error:  # of a user's reduction, too; it counts only if the layer is chosen in the end
                self._described[call] = error

    def _describe(self, call: Call, module: nn.Module, x: Tensor, recipe: Recipe) -> LayerInfo:
        is_square = x.ndim == 3 and x.shape[0] == x.shape[1] == self._items
        is_open = is_square and self._axes((call.name, call.index, call in self._tapped)) is None
        if is_open and self._items_second and not hasattr(module, "batch_first"):
            raise CaptureError(
                f"Capture: batch must tell items from tokens at layer '{call.name}', got {self._items} of both in a "
                "model that has modules with batch_first=False. Use another batch size."
            )
        matrix = recipe.matrix(x, self._items, self._tokens, call.name)
        per_item = matrix.shape[0] / self._items if self._items else float("nan")
        dtype, device = str(matrix.dtype).removeprefix("torch."), str(matrix.device)
        shape = tuple(recipe.tokens(self._tokens).apart(x).shape)
        return LayerInfo(call.name, type(module).__name__, shape, matrix.shape[1], per_item, dtype, device)

    def _planned(self, call: Call) -> PlannedLayer:
        counts = self._tap_counts if call in self._tapped else self._counts
        info, calls = self._described[call], counts[call.name]
        if isinstance(info, Exception):
            raise info
        if calls > 1:
            info = replace(info, name=f"{call.name}#{call.index}")
        if call in self._tapped:
            tap, index = self._tapped[call]
            return PlannedLayer(info, tap.module, tap.side, index, self._inputs[tap.module], self._recipes[call])
        return PlannedLayer(info, call.name, "output", call.index, calls, self._recipes[call])

    def _is_wanted(self, call: Call) -> bool:
        return call in self._tapped or (self._wanted is not None and self._wanted.has(call.name, call.index))

    def _item_axis(self, module: nn.Module, x: Tensor, call: tuple[str, int, bool]) -> int | None:
        """The axis of the items; None if there is none with a row or more for each item."""
        self.shapes.by_call[call] = tuple(x.shape)
        if x.ndim == 3 and getattr(module, "batch_first", True) is False:
            return 1
        axes = self._axes(call)
        if axes is not None and len(axes) < 2:
            return axes[0] if axes else None
        if self._items is None or x.shape[0] == self._items:
            return 0
        if x.ndim == 3 and x.shape[1] == self._items:
            return 1
        return 0 if x.shape[0] % self._items == 0 else None

    def _axes(self, call: tuple[str, int, bool]) -> list[int] | None:
        """The axes that grow with the items; None where nothing tells."""
        return None if self._fewer is None else self.shapes.axes_of_items(call, self._fewer)

    def _is_usable(self, rows: int) -> bool:
        # By default one row per item, so that all layers have the same examples. Others, such as windows of attention
        # with several rows per item, can be asked for.
        return self._wanted is not None or self._items is None or rows == self._items

    def _number(self, role: Role, x: Tensor | None) -> int:
        """A number for an output: that of the previous one if it is the same tensor, unchanged, or just passed on."""
        if not (self._is_last(x) or (role is Role.PASS_THROUGH and self._continues)):
            self._outputs += 1
        self._last = (x, _version(x))
        return self._outputs

    def _is_last(self, x: Tensor | None) -> bool:
        last, version = self._last
        return x is not None and x is last and _version(x) == version

    def _report_silent(self) -> None:
        """Says which layers didn't run."""
        modules = self._table.modules
        ran = self._counts + self._tap_counts
        if self._wanted is None:
            expected = [
                name
                for name in modules
                if role_of(name, self._table) is Role.WEIGHTED
                and not isinstance(modules.get(name.rpartition(".")[0]), nn.MultiheadAttention)
            ]
        else:
            # Of modules that stand for one layer, such as the blocks for the embeddings, one is enough.
            expected = [*self._wanted.calls, *dict.fromkeys(tap.layer for tap in self._wanted.taps)]
        expected = self._without_scripted(expected)
        silent = [name for name in expected if not ran[name]]
        if silent and len(silent) < len(expected):
            _warn(f"these modules were not called in the forward pass and are left out: {_listed(silent)}.")
        for name, calls in (self._wanted.calls if self._wanted else {}).items():
            if calls and self._counts[name] and max(calls) >= self._counts[name]:
                raise CaptureError(
                    f"Capture: layers must name calls that happen, got '{name}#{max(calls)}', but '{name}' is called "
                    f"{self._counts[name]} time(s), counted from #0."
                )

    def _without_scripted(self, expected: list[str]) -> list[str]:
        """Says which layers are in TorchScript; an error where all of them are."""
        scripted = self._table.scripted
        outermost = [name for name in scripted if name.rpartition(".")[0] not in scripted]
        lost = [module for module in self._table.modules if module in outermost and _has_any(module, expected)]
        others = [name for name in expected if name not in scripted]
        if lost and not others:
            raise CaptureError(
                f"Capture: layers must be modules that take hooks, got only such in TorchScript, inside which hooks do "
                f"not reach: {_listed(lost)}. Pass the Python modules that they came from."
            )
        if lost:
            _warn(
                f"hooks do not reach inside TorchScript, so these modules and what is in them are left out: "
                f"{_listed(lost)}. Pass the Python modules that they came from."
            )
        return others

    def _usable(self, chosen: list[Call]) -> list[Call]:
        """The calls with an activation; leaves out others with a warning, or an error for layers named one by one."""
        assert self._wanted is not None
        unusable = list(dict.fromkeys(call.name for call in chosen if not call.usable))
        for name in unusable:
            if name in self._wanted.by_name:
                raise CaptureError(
                    f"Capture: layer '{name}' must return a floating-point tensor with a row for each item of the "
                    "batch, and doesn't. Leave it out."
                )
        usable = [call for call in chosen if call.usable]
        if unusable and usable:
            _warn(
                f"these layers have no floating-point output with a row per item and are left out: {_listed(unusable)}."
            )
        return usable


def _has_any(module: str, names: list[str]) -> bool:
    """Whether one of these modules is this one or inside of it."""
    return any(f"{name}.".startswith(f"{module}.") for name in names)


def _version(x: Tensor | None) -> int:
    return 0 if x is None or x.is_inference() else x._version


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _warn(message: str) -> None:
    warnings.warn(f"Capture: {message}", CaptureWarning, stacklevel=5)
