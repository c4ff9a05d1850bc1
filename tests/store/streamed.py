"""A comparison of a store, to be run on its own: ``python -m tests.store.streamed STORE MEMORY``.

Prints the bytes by which the comparison raised the process's peak, its value and its route.
"""

from __future__ import annotations

import json
import resource
import sys

import numpy as np

from repscope import compare
from repscope.store import open_store


def peak() -> int:
    """The most memory that this process has had resident, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def run(path: str, memory: str) -> None:
    store = open_store(path)
    store.read(store.names[0], slice(0, 1))
    compare({"any": np.random.default_rng(0).standard_normal((600, 700), dtype=np.float32)})  # all that is imported
    before = peak()
    found = compare(store, memory=memory)
    print(
        json.dumps(
            {
                "growth": peak() - before,
                "value": found.values[0, 1],
                "torch": "torch" in sys.modules,
                **found.conventions,
            }
        )
    )


if __name__ == "__main__":
    run(*sys.argv[1:])
