"""Does every token of a long text fit as an example? Memory and time of the exact comparison of a language model.

    python -m benchmarks.long_text [--tokens 10000,20000] [--out FILE]

A GPT-2 of random weights with 24 blocks of 768 features runs on random text of 64 tokens a sentence, 64 sentences a
batch. The residual stream after each block is compared with every other: unbiased linear CKA of all pairs of tokens,
within a budget of 4 GB. Each point is a process of its own; its peak is counted above what the model and the data take,
and it is stopped where that is more than the budget.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

import repscope
from benchmarks.tables import Table, parser, whole_numbers
from benchmarks.timing import measured_apart
from repscope.compare import plan_comparison

LAYERS, WIDTH, LENGTH, SENTENCES = 24, 768, 64, 64
BUDGET = 4e9
SETTINGS: dict[str, Any] = {"layers": "residual", "reduce": "tokens", "pairs": "all", "memory": BUDGET}


class RandomText:
    """Sentences of random tokens, made when they are asked for."""

    def __init__(self, tokens: int) -> None:
        self.batches = max(1, round(tokens / (LENGTH * SENTENCES)))

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for number in range(self.batches):
            ids = torch.randint(0, 1000, (SENTENCES, LENGTH), generator=torch.Generator().manual_seed(number))
            yield {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def language_model() -> torch.nn.Module:
    from transformers import GPT2Config, GPT2Model

    torch.manual_seed(0)
    sizes = {"vocab_size": 1000, "n_positions": LENGTH, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": 12}
    return GPT2Model(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).eval()


def work(tokens: int) -> Callable[[], repscope.Comparison]:
    """The comparison of one point, its model and data made."""
    warnings.simplefilter("ignore")
    model, data = language_model(), RandomText(tokens)
    with torch.no_grad():
        model(**next(iter(data)))  # what a forward pass takes is not the comparison's
    return lambda: repscope.compare(model, data=data, progress=False, **SETTINGS)


def forward_seconds() -> float:
    """Of the model alone, for one batch."""
    model, batch = language_model(), next(iter(RandomText(1)))
    with torch.no_grad():
        model(**batch)
        start = time.perf_counter()
        model(**batch)
    return time.perf_counter() - start


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--tokens", type=whole_numbers, default=[10_000, 20_000], help="examples, such as 10000,20000")
    options.add_argument("--hours", type=float, default=3.0, help="after which a point is stopped")
    given = options.parse_args()
    table = Table(given.out)
    a_batch = forward_seconds()
    table.text(
        f"{LAYERS} layers of {WIDTH} features, {torch.get_num_threads()} threads. The forward pass alone: "
        f"{a_batch:.2f} s for {LENGTH * SENTENCES:,} tokens."
    )
    table.head("tokens", "route", "passes", "planned", "measured above model and data", "time", "forward passes of it")
    for tokens in given.tokens:
        data = RandomText(tokens)
        plan = plan_comparison(language_model(), data=data, **SETTINGS)
        apart = measured_apart(work, (tokens,), seconds=given.hours * 3600, mebibytes=BUDGET / 2**20)
        table.row(
            f"{len(data) * LENGTH * SENTENCES:,}",
            plan.route,
            plan.passes,
            f"{plan.peak_bytes / 2**20:,.0f} MiB",
            f"{apart.mebibytes:,.0f} MiB",
            apart.stopped or f"{apart.seconds:,.0f} s",
            f"{plan.passes * len(data) * a_batch:,.0f} s",
        )


if __name__ == "__main__":
    main()
