"""The same sums over several processes, with torch.distributed (gloo on CPUs, nccl on GPUs)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeVar

from repscope._words import first_line
from repscope.engine.partial import Partial, Shard
from repscope.errors import RepscopeError

T = TypeVar("T")


class RankError(RepscopeError, RuntimeError):
    """Another process of the group has died or does not answer."""


def launched() -> bool:
    """Whether this process was started by torchrun (or the like) together with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def join(timeout_seconds: float = 1800.0) -> Shard:
    """Join the group that torchrun has started, where that was not done; return this process's share."""
    from datetime import timedelta

    import torch
    from torch import distributed

    if not distributed.is_initialized():
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        try:
            distributed.init_process_group(backend, timeout=timedelta(seconds=timeout_seconds))
        except (RuntimeError, ValueError) as error:
            raise RankError(f"distributed: the processes could not meet ({first_line(error)}).") from error
    return current()


def current() -> Shard:
    """This process's share of the work: its rank among all, or all of it where there is no group."""
    import sys

    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return Shard()
    return Shard(distributed.get_rank(), distributed.get_world_size())


def gather(partial: Partial) -> Sequence[Partial]:
    """Every process's partial result, on every process.

    Raises:
        RankError: A process has died; no partial numbers come back.
    """
    from torch import distributed

    parts: list[Any] = [None] * partial.shard.count
    try:
        distributed.all_gather_object(parts, partial)
    except RuntimeError as error:
        raise RankError(
            f"distributed: rank {partial.shard.index} has finished its share, but another of the "
            f"{partial.shard.count} ranks has died or does not answer ({first_line(error)}). "
            "Start again; with a checkpoint, finished shares are not computed twice."
        ) from error
    return parts


def agree(value: T) -> T:
    """What the first process has as ``value``, on every process; the same object where there is no group.

    Raises:
        RankError: A process has died.
    """
    shard = current()
    if shard.count == 1:
        return value
    from torch import distributed

    box = [value]
    try:
        distributed.broadcast_object_list(box, src=0)
    except RuntimeError as error:
        raise RankError(
            f"distributed: another of the {shard.count} ranks has died or does not answer ({first_line(error)}). "
            "Look at its messages, and start again."
        ) from error
    return box[0]


def neighbours() -> int:
    """Processes of the group on this machine, which share its memory."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if current().count > 1 else 1


def leave() -> None:
    """Leave the group, where there is one."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
