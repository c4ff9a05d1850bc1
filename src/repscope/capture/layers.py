"""Which layers of a model are recorded, what they are called, and which ones are chosen by default.

Names are those of ``model.named_modules()`` without what wrappers add to them (``module.`` of DataParallel,
``_orig_mod.`` of ``torch.compile``). A module registered under several names goes by the first. A module that is called
k > 1 times in one forward pass gives the layers ``name#0`` ... ``name#(k-1)``. Layers are always in the order of
execution, whatever the order in which they were asked for: in the order in which their outputs are ready.

Parts of a network can be asked for in one word, such as ``"residual"``; see :mod:`repscope.capture.parts`.

The default set
---------------
A *unit* is a leaf module with a weight matrix (convolution, linear, embedding, recurrent, attention), together with the
normalisations, activations and poolings that run after it and before the next such module. Its layer is the output of
the last of these: of convolution, batch norm, ReLU it is the ReLU, as in Kornblith et al. 2019. Identity, dropout,
stochastic depth, and modules that only rearrange axes (flatten, permute) pass through and never count as the last.
Only modules are seen: an activation function called as ``F.relu`` shows in the output of the block around it. Modules
in TorchScript take no hooks and are left out.

By default the layers are the output of every unit, and besides them

- the output of every *block*: a child of a Sequential, ModuleList or ModuleDict that has children of its own, such as a
  residual block or a transformer layer;
- the result of a pooling to a single position (global average pooling), if no map comes after it. Elsewhere, as in
  squeeze-and-excitation, such a pooling is left out.

Where a unit and a block have the very same output it is listed once: under the block's name if the last module of the
unit runs on a sum (the ReLU after a residual addition), else under the name of the unit's module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from math import prod

from torch import Tensor, nn
from torch.jit import ScriptModule
from torch.nn.parameter import is_lazy

from repscope._words import nearest_or_all
from repscope.capture.parts import PARTS, Tap, taps
from repscope.capture.text import TextModel
from repscope.errors import CaptureError, InputError

Pick = str | type[nn.Module] | nn.Module | Callable[[str, nn.Module], bool]
Layers = Pick | Iterable[Pick] | None
"""None (the default set), or a name, glob, word for a part (``"residual"``), module type, module, predicate(name,
module), or several of them mixed."""

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def unwrap(module: nn.Module) -> nn.Module:
    """The module inside DataParallel, DistributedDataParallel, torch.compile and TextModel wrappers."""
    while True:
        if isinstance(module, _WRAPPERS):
            module = module.module
        elif isinstance(module, TextModel):
            module = module.model
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        else:
            return module


@dataclass(frozen=True)
class ModuleTable:
    """The modules of a model that can be layers, by their names.

    Attributes:
        modules: every module under its first name, in the order of ``named_modules``; the model itself is there only
            if it has no submodules, under its class name.
        aliases: further names of modules that are registered more than once, each with the first name.
        blocks: the names of the default set's blocks.
        root: the model itself, unwrapped.
    """

    modules: dict[str, nn.Module] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    blocks: frozenset[str] = frozenset()
    root: nn.Module = field(default_factory=nn.Identity)

    @classmethod
    def of(cls, model: nn.Module) -> ModuleTable:
        """Lists the modules of a model, looking through wrappers at every depth."""
        root = unwrap(model)
        if not any(True for _ in _children(root)):
            return cls({type(root).__name__: root}, root=root)
        modules: dict[str, nn.Module] = {}
        aliases: dict[str, str] = {}
        first_names: dict[int, str] = {}
        blocks = set()
        for name, module, parent in _walk(root, "", (root,)):
            first = first_names.setdefault(id(module), name)
            if first != name:
                aliases[name] = first
                continue
            modules[name] = module
            if isinstance(parent, _CONTAINERS) and not is_leaf(module) and not isinstance(module, _NO_FORWARD):
                blocks.add(name)
        return cls(modules, aliases, frozenset(blocks), root)

    @property
    def names(self) -> tuple[str, ...]:
        """All names that may be asked for, aliases included."""
        return (*self.modules, *self.aliases)

    def first_name(self, name: str) -> str:
        """The name that a module goes by, given any of its names."""
        return self.aliases.get(name, name)

    @property
    def scripted(self) -> frozenset[str]:
        """The names of modules in TorchScript, which takes no hooks; what is inside of one is in TorchScript, too."""
        return frozenset(name for name, module in self.modules.items() if isinstance(module, ScriptModule))

    def computes(self, name: str) -> bool:
        """Whether a module has a forward of its own; a ModuleList, say, only holds others."""
        return not isinstance(self.modules[self.first_name(name)], _NO_FORWARD)


@dataclass
class Wanted:
    """What a selection asks for.

    Attributes:
        calls: for every selected module the calls that were asked for; None for all of them.
        by_name: the modules that were named one by one and not by a pattern; for them a problem is an error.
        taps: layers that aren't the whole output of a module.
    """

    calls: dict[str, set[int] | None] = field(default_factory=dict)
    by_name: set[str] = field(default_factory=set)
    taps: list[Tap] = field(default_factory=list)

    def add(self, name: str, call: int | None) -> None:
        """Adds one call of a module, or all its calls."""
        known = self.calls.setdefault(name, set())
        if call is None or known is None:
            self.calls[name] = None
        else:
            known.add(call)

    def tap(self, tap: Tap) -> None:
        """Adds a layer that is seen at a module."""
        if tap.side == "output" and tap.head is None:
            self.add(tap.module, None)
        elif tap not in self.taps:
            self.taps.append(tap)

    def has(self, name: str, call: int) -> bool:
        """Whether this call of the module was asked for."""
        if name not in self.calls:
            return False
        calls = self.calls[name]
        return calls is None or call in calls


def select(layers: Layers, table: ModuleTable) -> Wanted | None:
    """Resolves a selection against the modules of a model; None stays None, the default set.

    A glob follows ``fnmatch``, so ``*`` also crosses dots. A word of :data:`repscope.capture.parts.PARTS` stands for a
    part of the network, unless a module has that very name.

    Raises:
        InputError: a name, glob, type or predicate that fits no module, with the closest real names.
    """
    if layers is None:
        return None
    wanted = Wanted()
    for pick in _as_list(layers):
        if isinstance(pick, str):
            _select_by_name(pick, table, wanted)
        elif isinstance(pick, nn.Module):
            _select_module(pick, table, wanted)
        else:
            _select_where(pick, table, wanted)
    if not wanted.calls and not wanted.taps:
        raise InputError("Capture: layers must select at least one layer, got an empty list.")
    return wanted


class Role(Enum):
    """The part that a module plays in the default set."""

    WEIGHTED = "weighted"
    ELEMENT = "element"  # normalisation, activation, pooling: belongs to the unit before it
    PASS_THROUGH = "pass-through"
    BLOCK = "block"
    OTHER = "other"


@dataclass(frozen=True)
class Call:
    """One call of a module in the traced forward pass: what the default set is chosen from.

    Attributes:
        name: the module's name.
        index: 0 for the first call of the module, 1 for the second, and so on.
        role: the module's part.
        usable: the output holds a floating-point tensor with a row for each item of the batch.
        output: equal for two calls if and only if their outputs are the same tensor with the same content.
        continues: the input is the output of the module that ran before it, with no operation between.
        spread: the output has more than one position for each channel.
        pools_all: a pooling that leaves one position for each channel, where there were more.
    """

    name: str
    index: int
    role: Role
    usable: bool
    output: int
    continues: bool
    spread: bool
    pools_all: bool


def default_layers(calls: Sequence[Call]) -> list[Call]:
    """The default set (see the module's docstring) out of all calls of a forward pass, in their order."""
    last_map = max((i for i, call in enumerate(calls) if call.role is Role.WEIGHTED and call.spread), default=-1)
    chosen: dict[int, Call] = {}  # by position in the order of execution
    end: int | None = None  # of the unit being read: its last module so far
    in_unit = False
    for i, call in enumerate(calls):
        if call.role is Role.BLOCK and call.usable:
            chosen[i] = call
        elif call.role is Role.WEIGHTED:
            chosen |= {} if end is None else {end: calls[end]}
            end, in_unit = (i if call.usable else None), True
        elif call.role is Role.ELEMENT and call.usable and call.pools_all:
            if i > last_map:
                chosen |= {} if end is None else {end: calls[end]}
                end, in_unit = i, True
        elif call.role is Role.ELEMENT and call.usable and in_unit:
            end = i
    chosen |= {} if end is None else {end: calls[end]}
    if not chosen:  # no weights anywhere: every leaf that computes something
        chosen = {i: call for i, call in enumerate(calls) if call.role is Role.ELEMENT and call.usable}
    return _without_duplicates([chosen[i] for i in sorted(chosen)])


def role_of(name: str, table: ModuleTable) -> Role:
    """The part that a module plays in the default set."""
    module = table.modules[name]
    if not is_leaf(module):
        return Role.BLOCK if name in table.blocks else Role.OTHER
    if isinstance(module, _PASS_THROUGH) or _PASS_THROUGH_NAME.search(type(module).__name__):
        return Role.PASS_THROUGH
    if _NORMALISATION_NAME.search(type(module).__name__):
        return Role.ELEMENT
    is_matrix = any(is_lazy(weight) or weight.ndim >= 2 for weight in module.parameters())
    is_matrix |= any(buffer.ndim >= 2 and buffer.is_floating_point() for buffer in module.buffers())
    is_matrix |= any(hasattr(module, packed) for packed in _PACKED)
    return Role.WEIGHTED if is_matrix else Role.ELEMENT


def is_leaf(module: nn.Module) -> bool:
    """Whether a module counts as one piece: it has no submodules, or is torch's attention."""
    return isinstance(module, nn.MultiheadAttention) or not any(True for _ in _children(module))


def is_spread(activation: Tensor) -> bool:
    """Whether an activation has more than one position for each channel."""
    return _positions(activation) > 1


def declared_features_last(module: nn.Module) -> bool | None:
    """Whether the class of a module says where its output has the features: last, at axis 1 (False), or doesn't say.

    Torch's classes say it in their names, and classes of other libraries are mostly derived from them or named after
    them; the most derived class that says anything is the one that counts.
    """
    for cls in type(module).__mro__:
        if _FEATURES_SECOND_NAME.search(cls.__name__):
            return False
        if _FEATURES_LAST_NAME.search(cls.__name__):
            return True
    return None


_NO_FORWARD = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_PACKED = ("_packed_params", "_all_weight_values", "_packed_weight_ih")
"""Where torch's quantised modules have their weights: no parameters, and sometimes in modules of their own."""
_PASS_THROUGH = (nn.Identity, nn.Flatten, nn.Unflatten)
_PASS_THROUGH_NAME = re.compile(r"Dropout|DropPath|StochasticDepth|DropBlock|Permute|Transpose|Rearrange|Reshape")
_NORMALISATION_NAME = re.compile(r"Norm(\dd)?$")
_FEATURES_SECOND_NAME = re.compile(r"[123]d$|GroupNorm")  # Conv2d, BatchNorm1d, AvgPool3d; LayerNorm2d as well
_FEATURES_LAST_NAME = re.compile(r"Linear|Embedding|LayerNorm|RMSNorm|MultiheadAttention|RNN|Conv1D$")


def _children(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The submodules of a module, unwrapped, without the inner life of parametrised and of quantised weights."""
    for name, child in module._modules.items():  # named_children() leaves out a module's second name
        if child is not None and name not in ("parametrizations", *_PACKED):
            yield name, unwrap(child)


def _walk(module: nn.Module, prefix: str, path: tuple[nn.Module, ...]) -> Iterator[tuple[str, nn.Module, nn.Module]]:
    """Every module below this one with its name and its parent; shared modules under each of their names."""
    for key, child in _children(module):
        if any(child is ancestor for ancestor in path):
            continue  # a module that holds itself
        yield prefix + key, child, module
        yield from _walk(child, f"{prefix}{key}.", (*path, child))


def _as_list(layers: Pick | Iterable[Pick]) -> list[Pick]:
    if isinstance(layers, (str, type, nn.Module)) or not isinstance(layers, Iterable):
        return [layers]
    return list(layers)


def _select_by_name(pick: str, table: ModuleTable, wanted: Wanted) -> None:
    """Adds the module of this name, or the one call that ``name#k`` stands for, or what the glob fits."""
    base, mark, call = pick.rpartition("#")
    if pick in table.names:
        name = table.first_name(pick)
        wanted.add(name, None)
    elif mark and call.isdecimal() and base in table.names:
        name = table.first_name(base)
        wanted.add(name, int(call))
    elif pick in PARTS:
        for tap in taps(pick, table, table.root):
            wanted.tap(tap)
        return
    else:
        found = _add_all(lambda name, _: fnmatchcase(name, pick), table, wanted)
        if not found and not _add_taps(pick, table, wanted):
            raise InputError(
                "Capture: layers must name modules of the model or its parts, got "
                f"{pick!r}.{nearest_or_all(pick, (*table.names, *PARTS))}"
            )
        return
    if not table.computes(name):
        raise InputError(
            f"Capture: layers must name modules that compute something, got {pick!r}, which only holds others. "
            f"Select them with '{pick}.*'."
        )
    _check_hooks(name, table)
    wanted.by_name.add(name)


def _select_module(pick: nn.Module, table: ModuleTable, wanted: Wanted) -> None:
    name = next((name for name, module in table.modules.items() if module is unwrap(pick)), None)
    if name is None:
        raise InputError(
            f"Capture: layers must hold modules of the model itself, got another {type(pick).__name__}. "
            "Select by name, so that the same selection fits several models."
        )
    _check_hooks(name, table)
    wanted.add(name, None)
    wanted.by_name.add(name)


def _check_hooks(name: str, table: ModuleTable) -> None:
    if name in table.scripted:
        raise CaptureError(
            f"Capture: layers must name modules that take hooks, got {name!r} in TorchScript, inside which hooks do "
            "not reach. Pass the Python module that it came from."
        )


def _select_where(pick: type[nn.Module] | Callable[[str, nn.Module], bool], table: ModuleTable, wanted: Wanted) -> None:
    """Adds every module of a type, or for which a predicate is true."""
    if isinstance(pick, type) and issubclass(pick, nn.Module):
        kinds = tuple(dict.fromkeys(type(module).__name__ for module in table.modules.values()))
        if not _add_all(lambda _, module: isinstance(module, pick), table, wanted):
            raise InputError(
                f"Capture: layers must fit a module of the model, got the type {pick.__name__}, of which it has none"
                f".{nearest_or_all(pick.__name__, kinds)}"
            )
    elif callable(pick) and not isinstance(pick, type):
        if not _add_all(pick, table, wanted):
            raise InputError(
                "Capture: layers must fit a module of the model, got a predicate(name, module) that is false for all"
                f".{nearest_or_all('', table.names)}"
            )
    else:
        raise InputError(
            "Capture: layers must be names, globs, module types, modules, predicates(name, module) or a list of them, "
            f"got {pick!r}."
        )


def _add_all(fits: Callable[[str, nn.Module], bool], table: ModuleTable, wanted: Wanted) -> bool:
    """Adds every module that fits under one of its names; whether there is any."""
    found = [name for name in table.names if table.computes(name) and fits(name, table.modules[table.first_name(name)])]
    for name in found:
        wanted.add(table.first_name(name), None)
    return bool(found)


def _add_taps(pattern: str, table: ModuleTable, wanted: Wanted) -> bool:
    """Adds the layers without a module of their own, heads and embeddings, that fit; whether there are any."""
    found = []
    for part in ("heads", "embeddings"):
        with suppress(InputError):  # the model has none
            found += [tap for tap in taps(part, table, table.root) if fnmatchcase(tap.layer, pattern)]
    for tap in found:
        wanted.tap(tap)
    return bool(found)


def _positions(activation: Tensor) -> int:
    return prod(activation.shape[2:])


def _without_duplicates(chosen: list[Call]) -> list[Call]:
    """One call for each output."""
    keep: dict[int, Call] = {}
    for call in chosen:
        first = keep.setdefault(call.output, call)
        after_a_sum = first.role is Role.ELEMENT and not first.continues
        if call.role is Role.BLOCK and after_a_sum:
            keep[call.output] = call
    return list(keep.values())
