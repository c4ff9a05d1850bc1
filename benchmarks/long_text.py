"""Does every token of a long text fit as an example? Memory and time of the exact comparison of a language model.

    python -m benchmarks.long_text [--tokens 10000 20000] [--out benchmarks/results]

A GPT-2 of random weights with 24 blocks of 768 features runs on random text of 64 tokens a sentence, 64 sentences a
batch. The residual stream after each block is compared with every other: unbiased linear CKA of all pairs of tokens,
within a budget of 4 GB. Each point is a process of its own; its peak is counted above what the model and the data take.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

import repscope
from benchmarks.timing import measured_apart
from repscope.compare import plan_comparison

LAYERS, WIDTH, LENGTH, SENTENCES = 24, 768, 64, 64
BUDGET = 4e9


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
    settings = {"layers": "residual", "reduce": "tokens", "pairs": "all", "memory": BUDGET, "progress": False}
    return lambda: repscope.compare(model, data=data, **settings)


def measured(tokens: int) -> dict[str, object]:
    apart = measured_apart(work, (tokens,), seconds=3000, mebibytes=BUDGET / 2**20)
    run = work(tokens)
    start = time.perf_counter()
    result = run()
    return {
        "tokens": result.n,
        "seconds": round(time.perf_counter() - start, 1),
        "mebibytes": round(apart.mebibytes),
        "stopped": apart.stopped,
        "route": result.conventions["route"],
        "passes": result.conventions["passes"],
    }


def forward_seconds() -> float:
    """Of the model alone, for one batch."""
    model, batch = language_model(), next(iter(RandomText(1)))
    with torch.no_grad():
        model(**batch)
        start = time.perf_counter()
        model(**batch)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[10_000, 20_000])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    settings = {"layers": "residual", "reduce": "tokens", "pairs": "all", "memory": BUDGET}
    plan = plan_comparison(language_model(), data=RandomText(1_000_000), **settings)
    print(plan.explain())
    found = {
        "plan for 1,000,000 tokens": {"route": plan.route, "passes": plan.passes, "bytes": plan.peak_bytes},
        "forward seconds a batch": round(forward_seconds(), 2),
        "points": [],
    }
    for tokens in given.tokens:
        found["points"].append(measured(tokens))
        print(found["points"][-1], flush=True)
    print(f"forward pass alone: {found['forward seconds a batch']} s for {LENGTH * SENTENCES} tokens")
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "long-text.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
