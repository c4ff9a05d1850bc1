"""Representations out of torch models: which layers, in which order, as which matrix.

The only room of repscope that imports a deep-learning framework. :class:`Capture` hands out the layers of one model
batch by batch, :func:`representations` collects those of a whole data set, :func:`batches` goes through the data.
"""

from __future__ import annotations

from repscope.capture.data import Batches, batch_items, batches, fingerprint, model_inputs, move
from repscope.capture.layers import Layers
from repscope.capture.reduce import REDUCTIONS, Reduce
from repscope.capture.store import write_store
from repscope.capture.torch import Capture, representations
from repscope.capture.trace import LayerInfo

__all__ = [
    "REDUCTIONS",
    "Batches",
    "Capture",
    "LayerInfo",
    "Layers",
    "Reduce",
    "batch_items",
    "batches",
    "fingerprint",
    "model_inputs",
    "move",
    "representations",
    "write_store",
]
