"""Activations: where they are in what a module takes and returns, and where they have their features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from torch import Tensor, nn

from repscope.capture.layers import Role, declared_features_last
from repscope.errors import CaptureError


@dataclass(frozen=True)
class Shapes:
    """The shapes of the activations in one pass, by layer, call, and whether the layer has no module of its own.

    Attributes:
        items: the number of items in the batch; None if it doesn't say.
        by_call: the shapes.
    """

    items: int | None
    by_call: dict[tuple[str, int, bool], tuple[int, ...]] = field(default_factory=dict)

    @property
    def are_ambiguous(self) -> bool:
        """Whether an axis of tokens is as long as that of the items, or a multiple."""
        if self.items is None or self.items == 1:
            return False
        return any(len(shape) == 3 and shape[1] % self.items == 0 for shape in self.by_call.values())

    def axes_of_items(self, call: tuple[str, int, bool], other: Shapes) -> list[int] | None:
        """The axes, first or second, that have grown with the items from ``other``; None where nothing tells."""
        shape, before = self.by_call[call], other.by_call.get(call)
        if self.items is None or other.items is None or before is None or len(before) != len(shape):
            return None
        candidates = range(2 if len(shape) == 3 else 1)
        return [axis for axis in candidates if shape[axis] * other.items == before[axis] * self.items]


class Layout:
    """Follows where the features are in activations with 3 or more axes; see :mod:`repscope.capture.reduce`."""

    def __init__(self) -> None:
        self._last: bool | None = None  # whether the features came last, in the last layer that said so
        self._width = 0

    def features_last(self, module: nn.Module, role: Role, x: Tensor) -> bool:
        """Whether the features of an activation are its last axis."""
        if x.ndim < 3:
            return True
        declares = role in (Role.WEIGHTED, Role.ELEMENT)
        declared = declared_features_last(module) if declares else None
        if declared is not None:
            self._last, self._width = declared, x.shape[-1 if declared else 1]
            return declared
        # An activation function, a permutation or a block: the features are where the width is found again.
        second, last = x.shape[1] == self._width, x.shape[-1] == self._width
        if self._last is not None and (second or last):
            return self._last if second and last else last
        return x.ndim == 3


def activation_of(output: Any) -> Tensor | None:
    """The activation in what a module returned: its first floating-point tensor with an axis of items.

    Tuples, lists, mappings and dataclasses are searched in their order and in depth; of outputs that have a
    ``last_hidden_state`` or ``logits`` (the ModelOutputs of Hugging Face) these come first. None if there is none.
    """
    if isinstance(output, Tensor):
        is_matrix_like = output.is_floating_point() and output.ndim > 0
        return output if is_matrix_like and not (output.is_nested or output.is_sparse) else None
    named: dict[Any, Any]
    if isinstance(output, Mapping):
        named = dict(output)
    elif is_dataclass(output) and not isinstance(output, type):
        named = {entry.name: getattr(output, entry.name) for entry in fields(output)}
    elif isinstance(output, (tuple, list)):
        named = dict(enumerate(output))
    else:
        return None
    order = dict.fromkeys([key for key in ("last_hidden_state", "logits") if key in named] + list(named))
    found = (activation_of(named[key]) for key in order)
    return next((tensor for tensor in found if tensor is not None), None)


def input_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """The activation that a module is called on: its first floating-point tensor, ``hidden_states`` before others."""
    hidden = kwargs.get("hidden_states")
    return activation_of(args) if hidden is None else activation_of(hidden)


def head_of(x: Tensor, head: int, heads: int, layer: str) -> Tensor:
    """One of the heads that lie side by side in the last axis."""
    width = x.shape[-1]
    if width % heads:
        raise CaptureError(
            f"Capture: layer '{layer}' must be one of {heads} heads of one width, got {width} features in all. "
            "Name the projection's module instead."
        )
    size = width // heads
    return x[..., head * size : (head + 1) * size]
