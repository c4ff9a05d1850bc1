"""Marks of models and of the functions that call them, by which another process knows them again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from repscope.capture.data import fingerprint
from repscope.capture.layers import unwrap


def call_fingerprint(function: Callable[..., Any] | None) -> str:
    """A hash of a function: its name and, where it is written in Python, what it does; stable between processes."""
    digest = blake2b(str(described(function)).encode(), digest_size=16)
    _feed_code(digest.update, getattr(function, "__code__", None))
    return digest.hexdigest()


def _feed_code(update: Callable[[bytes], object], code: Any) -> None:
    if code is None:
        return
    update(code.co_code)
    update(repr(code.co_names).encode())
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            _feed_code(update, constant)
        else:  # a set has another order in another process
            update(repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant).encode())


def model_fingerprint(model: nn.Module) -> str:
    """A hash of a model: the names and types of its modules; names, shapes and values of all that makes its state."""
    root = unwrap(model)
    digest = blake2b(digest_size=16)
    for name, module in root.named_modules():
        digest.update(f"{name}:{type(module).__qualname__}\n".encode())
    for name, tensor in chain(root.named_parameters(), root.named_buffers()):
        digest.update(f"{name}:{tensor.dtype}{tuple(tensor.shape)}\n".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(values.view(torch.uint8).numpy().data)
    for name, value in root.state_dict().items():
        if not isinstance(value, Tensor):  # the packed weights of quantised layers, and state of the user's own
            digest.update(f"{name}:{fingerprint([value])}\n".encode())
    return digest.hexdigest()


def described(value: Any) -> Any:
    """A setting as JSON; functions by their name, which is all that can be told of them in another process."""
    if isinstance(value, Mapping):
        return {str(key): described(entry) for key, entry in value.items()}
    if value is None or isinstance(value, str):
        return value
    qualified = getattr(value, "__qualname__", type(value).__qualname__)
    return f"{getattr(value, '__module__', '')}.{qualified}"
