"""The parts of a network by one word each, such as ``"residual"``, whatever a library calls its modules.

The words are found from the structure of the modules, so they hold for Hugging Face's models, for torch's own
transformers, and for most that are written like them:

- A *block* is a member of a container (ModuleList, Sequential) with attention and a linear layer or a feed-forward
  network beside it. Where no member has attention in it or is one, the blocks are the outermost members that have
  children of their own, looking through stages: modules named so, or that hold nothing but containers. That fits
  residual networks.
- An attention's *projection* is the last linear layer in it whose name isn't one of queries, keys, values, gates or
  positions. What enters the projection are the heads side by side, and what it returns is what attention adds to the
  residual stream, before any normalisation or sum.

A network may have modules under these very names; these come first then.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from repscope.errors import InputError

if TYPE_CHECKING:
    from repscope.capture.layers import ModuleTable

PARTS: Mapping[str, str] = {
    "residual": "the residual stream after each block",
    "attention": "the output of each attention, as it is added to the residual stream",
    "mlp": "the output of each feed-forward network (experts included), as it is added to the residual stream",
    "heads": "the output of each attention head, before the heads are projected together",
    "embeddings": "what enters the first block: tokens or patches with their positions",
    "final_norm": "the normalisation behind the last block",
}

Side = Literal["output", "input"]


@dataclass(frozen=True)
class Tap:
    """A layer that is seen at a module, by its own name.

    Attributes:
        module: the module that is watched.
        layer: the layer's name.
        side: whether it is the module's output or its first input.
        head: which of the heads that lie side by side in the features; None for all features.
        heads: how many there are.
        first: of several such modules and their calls only the one that runs first in a forward pass counts.
    """

    module: str
    layer: str
    side: Side = "output"
    head: int | None = None
    heads: int = 1
    first: bool = False


def taps(part: str, table: ModuleTable, root: nn.Module) -> list[Tap]:
    """Where a part of a network is seen.

    Args:
        part: a word out of :data:`PARTS`.
        table: the modules.
        root: the network itself, whose configuration may tell the number of heads.

    Raises:
        InputError: the network has no such part, or doesn't tell its number of heads.
    """
    anatomy = _Anatomy.of(table)
    found = list(_FINDERS[part](anatomy, root))
    if not found:
        there = "none of its modules is a block" if not anatomy.blocks else _ABSENT.get(part, "its blocks have none")
        raise InputError(
            f"Capture: layers must name parts that the model has, got {part!r} ({PARTS[part]}) for a "
            f"{type(root).__name__}: {there}. Name modules or globs instead."
        )
    return found


_ABSENT = {
    "final_norm": "no normalisation stands behind its blocks (post-norm blocks end with one, see 'residual')",
    "heads": "none of its attentions has a projection that is a module of its own",
}
_ATTENTION = re.compile(r"Attention|Attn")
_LINEAR = re.compile(r"Linear|Conv1D$")  # Conv1D: GPT-2's name for a linear layer; not torch's Conv1d
_INWARD = re.compile(
    r"(^|[._])(w?(q|k|v|kv|qkv)|query|key|value|in|gate|g|router|sink|pos|rel|relative|indexer|compressor)($|[._])",
    re.IGNORECASE,
)
"""Names of linear layers in an attention that come before its projection, or beside it."""
_FEED_FORWARD = re.compile(r"MLP|Mlp|FeedForward|FFN|Mo[eE](Block|Layer)?$|Dense(Gated)?ActDense")
_EXPERTS = re.compile(r"Mo[eE]|Sparse")
_NORM = re.compile(r"Norm(1P)?$")
_NOT_BEHIND = re.compile(r"emb|pre|rotary", re.IGNORECASE)
_STAGE = re.compile(r"Stage$")
_HEADS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "nhead")


@dataclass(frozen=True)
class _Anatomy:
    """The blocks of a network and what is in them, by name.

    Attributes:
        table: the modules.
        blocks: in the order of registration.
        attentions: of each block, the outermost.
    """

    table: ModuleTable
    blocks: tuple[str, ...]
    attentions: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, table: ModuleTable) -> _Anatomy:
        members = [name for name in table.modules if name in table.blocks]
        attentions = {name: tuple(_outermost(table, name, _is_attention)) for name in members}
        if any(attentions.values()):
            whole = [name for name in members if attentions[name] and _feeds_forward(table, name, attentions[name])]
            smallest = [name for name in whole if not any(other.startswith(f"{name}.") for other in whole)]
            homes = {name.rpartition(".")[0] for name in smallest}  # hybrids: some blocks have no attention
            blocks = [
                name
                for name in members
                if name.rpartition(".")[0] in homes and not any(other.startswith(f"{name}.") for other in smallest)
            ]
        elif any(_is_attention(table.modules[name]) for name in members):
            blocks = []  # attentions in a list of their own (XLM): no module has a block's output
        else:
            blocks = []
            for name in members:
                if not _is_stage(table, name) and not any(name.startswith(f"{block}.") for block in blocks):
                    blocks.append(name)
        return cls(table, tuple(blocks), attentions)

    def stacks(self) -> dict[str, list[str]]:
        """The blocks by the module that holds them all; stages of blocks are one stack, encoder and decoder are two."""
        found: dict[str, list[str]] = {}
        for block in self.blocks:
            home = block.rpartition(".")[0].rpartition(".")[0]
            outer, _, number = home.rpartition(".")
            if number.isdecimal():  # encoder.stages.0 of the block encoder.stages.0.layers.1
                home = outer.rpartition(".")[0]
            found.setdefault(home, []).append(block)
        return found


def _residual(anatomy: _Anatomy, root: nn.Module) -> Iterator[Tap]:
    for block in anatomy.blocks:
        yield Tap(block, block)


def _attention(anatomy: _Anatomy, root: nn.Module) -> Iterator[Tap]:
    for block in anatomy.blocks:
        for name in anatomy.attentions[block]:
            seen = _projection(anatomy.table, name) or name  # torch's attention calls no module for its projection
            yield Tap(seen, seen)


def _heads(anatomy: _Anatomy, root: nn.Module) -> Iterator[Tap]:
    for block in anatomy.blocks:
        for name in anatomy.attentions[block]:
            projection = _projection(anatomy.table, name)
            if projection is None:
                continue
            heads = _head_count(anatomy.table, name, root)
            for head in range(heads):
                yield Tap(projection, f"{name}.head{head}", "input", head, heads)


def _mlp(anatomy: _Anatomy, root: nn.Module) -> Iterator[Tap]:
    table = anatomy.table
    for block in anatomy.blocks:
        attentions = anatomy.attentions[block]
        if not attentions:
            continue
        for name in (
            _beside(table, block, attentions, _is_feed_forward) or _linear_beside(table, block, attentions)[-1:]
        ):
            seen = _last_linear(table, name) if _adds_residual(table, name) else name
            yield Tap(seen, seen)


def _embeddings(anatomy: _Anatomy, root: nn.Module) -> Iterator[Tap]:
    for home, blocks in anatomy.stacks().items():
        for block in blocks:  # the order of registration need not be that of execution
            yield Tap(block, f"{home}.embeddings".removeprefix("."), "input", first=True)


def _final_norm(anatomy: _Anatomy, root: nn.Module) -> Iterator[Tap]:
    found: dict[str, None] = {}
    for home in anatomy.stacks():
        place = home
        while not (norms := _final_norms_in(anatomy.table, place)) and place:
            place = place.rpartition(".")[0]
        found |= dict.fromkeys(norms)
    for name in found:
        yield Tap(name, name)


_FINDERS: Mapping[str, Callable[[_Anatomy, nn.Module], Iterator[Tap]]] = {
    "residual": _residual,
    "attention": _attention,
    "mlp": _mlp,
    "heads": _heads,
    "embeddings": _embeddings,
    "final_norm": _final_norm,
}


def _outermost(table: ModuleTable, within: str, fits: Callable[[nn.Module], bool]) -> list[str]:
    """Modules inside another that fit and aren't inside one that fits, in the order of registration."""
    found: list[str] = []
    for name, module in table.modules.items():
        if name.startswith(f"{within}.") and fits(module) and not _is_within(name, found):
            found.append(name)
    return found


def _is_within(name: str, others: list[str] | tuple[str, ...]) -> bool:
    return any(name == other or name.startswith(f"{other}.") for other in others)


def _is_attention(module: nn.Module) -> bool:
    return bool(_ATTENTION.search(type(module).__name__))


def _is_linear(module: nn.Module) -> bool:
    return bool(_LINEAR.search(type(module).__name__))


def _is_norm(module: nn.Module) -> bool:
    return bool(_NORM.search(type(module).__name__))


def _is_feed_forward(module: nn.Module) -> bool:
    return bool(_FEED_FORWARD.search(type(module).__name__))


def _beside(
    table: ModuleTable, block: str, attentions: tuple[str, ...], fits: Callable[[nn.Module], bool]
) -> list[str]:
    return [name for name in _outermost(table, block, fits) if not _is_within(name, attentions)]


def _linear_beside(table: ModuleTable, block: str, attentions: tuple[str, ...]) -> list[str]:
    return _beside(table, block, attentions, _is_linear)


def _feeds_forward(table: ModuleTable, block: str, attentions: tuple[str, ...]) -> bool:
    """Whether a module has more beside its attentions; of experts the weights may be no linear layers."""
    return bool(_linear_beside(table, block, attentions) or _beside(table, block, attentions, _is_feed_forward))


def _adds_residual(table: ModuleTable, name: str) -> bool:
    """Whether a feed-forward network may add the residual stream itself.

    It is handed the stream (BLOOM, MPT), or has a normalisation, which may come behind the sum (XLNet, Funnel).
    """
    module = table.modules[name]
    normalises = not _EXPERTS.search(type(module).__name__) and bool(_outermost(table, name, _is_norm))
    return normalises or "residual" in inspect.signature(module.forward).parameters


def _last_linear(table: ModuleTable, within: str) -> str:
    return [within, *_outermost(table, within, _is_linear)][-1]


def _projection(table: ModuleTable, attention: str) -> str | None:
    if isinstance(table.modules[attention], nn.MultiheadAttention):
        return None
    linear = _outermost(table, attention, _is_linear)
    outward = [name for name in linear if not _INWARD.search(name.removeprefix(f"{attention}."))]
    return outward[-1] if outward else None


def _is_stage(table: ModuleTable, name: str) -> bool:
    children = [table.modules[child] for child in _children(table, name)]
    holds_only = bool(children) and all(isinstance(child, nn.ModuleList | nn.Sequential) for child in children)
    module = table.modules[name]
    return isinstance(module, nn.Sequential) or holds_only or bool(_STAGE.search(type(module).__name__))


def _children(table: ModuleTable, home: str) -> list[str]:
    return [name for name in table.modules if name.rpartition(".")[0] == home]


def _final_norms_in(table: ModuleTable, home: str) -> list[str]:
    return [
        name
        for name in _children(table, home)
        if _is_norm(table.modules[name]) and not _NOT_BEHIND.search(name.rpartition(".")[2])
    ]


def _head_count(table: ModuleTable, attention: str, root: nn.Module) -> int:
    """The number of heads: what the attention or a module in it says, or else a configuration."""
    inside = [module for name, module in table.modules.items() if _is_within(name, [attention])]
    places: list[Any] = [*inside, *(getattr(module, "config", None) for module in (*inside, root))]
    for place in places:
        for key in _HEADS:
            value = getattr(place, key, None)
            if isinstance(value, int) and value > 0:
                return value
    raise InputError(
        f"Capture: layers='heads' must be used on models that tell their number of heads, got '{attention}' without "
        f"any of {', '.join(_HEADS)}, in itself or in a config. Name the projection's module instead."
    )
