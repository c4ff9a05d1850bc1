"""Networks trained from a description: once made, they are files that anyone can load.

A :class:`NetworkSpec` says what is trained, a :class:`Recipe` how; :func:`trained` gives the networks, training those
whose files are not there yet, and :func:`load` reads one back. ``python -m repscope.studies.zoo`` does the same from
the command line, for instance::

    python -m repscope.studies.zoo --network tiny10 --data cifar10 --data-dir DATA --seeds 0-9 --out NETWORKS

The networks of one call are trained several at once, each on one CPU thread.
"""

from __future__ import annotations

from repscope.studies.zoo.network_file import TrainedNetwork, load
from repscope.studies.zoo.runner import trained
from repscope.studies.zoo.spec import ARCHITECTURES, NetworkSpec, Recipe, TranslationRecipe

__all__ = ["ARCHITECTURES", "NetworkSpec", "Recipe", "TrainedNetwork", "TranslationRecipe", "load", "trained"]
