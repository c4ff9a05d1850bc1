"""What stands in for a trained network: its inputs as they are, and a copy of it that has learned nothing."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from repscope.errors import InputError


class Inputs(nn.Module):
    """A network whose only layer is its input: the first floating-point tensor that it is called with.

    Args:
        flat: As one row an item, whatever its shape; False: as it is.
    """

    def __init__(self, *, flat: bool = True) -> None:
        super().__init__()
        self.flat = flat

    def forward(self, *args: Any, **keywords: Any) -> Tensor:
        """The input.

        Raises:
            InputError: There is none, as for text: the numbers of tokens are names, not amounts.
        """
        for x in (*args, *keywords.values()):
            if isinstance(x, Tensor) and x.is_floating_point() and x.ndim:
                return x.reshape(len(x), -1) if self.flat else x.clone()
        raise InputError(
            "baselines: inputs must hold a floating-point tensor to be compared with layers, got none. Use "
            "inputs=False, or scale images to floats."
        )


def reinitialised(model: nn.Module, seed: int) -> nn.Module:
    """A copy of a model with weights drawn anew by the ``reset_parameters`` of its modules.

    Inner modules come first, in an order that the architecture fixes, so that a module that also sets the weights of
    its children has the last word. Weights are drawn on the CPU: a seed gives the same ones on every device.

    Args:
        model: A torch module; left as it is.
        seed: Of the drawing; the global random state is as before.

    Raises:
        InputError: A module has parameters of its own and no ``reset_parameters``.
    """
    fresh = copy.deepcopy(model)
    homes = [(tensor, tensor.device) for tensor in (*fresh.parameters(), *fresh.buffers())]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        for tensor, _ in homes:
            tensor.data = tensor.data.cpu()
        for name, module in reversed(list(fresh.named_modules())):
            reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if reset is not None:
                if any(True for _ in module.parameters(recurse=False)) or any(True for _ in module.buffers(False)):
                    reset()
            elif own := [key for key, _ in module.named_parameters(recurse=False)]:
                where = f"module {name!r}" if name else "it"
                raise InputError(
                    f"baselines: untrained must be given for this model, because {where}, a "
                    f"{type(module).__name__}, has parameters ({own[0]}) and no reset_parameters() to draw them anew. "
                    "Pass a network made like the trained one as untrained=, or untrained=None."
                )
        for tensor, home in homes:
            tensor.data = tensor.data.to(home)
    return fresh
