"""Representations out of torch models: which layers, in which order, as which matrix.

The only room of repscope that imports a deep-learning framework. :class:`Capture` hands out the layers of one model
batch by batch, :func:`representations` collects those of a whole data set, :func:`batches` goes through the data.
"""

from __future__ import annotations

from repscope.capture.controls import Inputs, reinitialised
from repscope.capture.data import Batches, batch_items, batches, fingerprint, model_inputs, move
from repscope.capture.fingerprints import call_fingerprint, model_fingerprint
from repscope.capture.layers import Layers
from repscope.capture.parts import PARTS
from repscope.capture.prepared import Prepared, aligned, check_one_number_of_tokens
from repscope.capture.reduce import REDUCTIONS, Reduce
from repscope.capture.store import write_store
from repscope.capture.text import TextModel
from repscope.capture.torch import Capture, representations
from repscope.capture.trace import LayerInfo

__all__ = [
    "PARTS",
    "REDUCTIONS",
    "Batches",
    "Capture",
    "Inputs",
    "LayerInfo",
    "Layers",
    "Prepared",
    "Reduce",
    "TextModel",
    "aligned",
    "batch_items",
    "batches",
    "call_fingerprint",
    "check_one_number_of_tokens",
    "fingerprint",
    "model_fingerprint",
    "model_inputs",
    "move",
    "reinitialised",
    "representations",
    "write_store",
]
