"""Which layers settle first?
==========================

Checkpoints of one training against its end. Layers near the input reach their final representation first, if they ever
leave it (Raghu et al. 2017).
"""

from copy import deepcopy

from digit_networks import digits

import repscope
from repscope import plot
from repscope.studies.digits import load_digits
from repscope.studies.networks import tiny10
from repscope.studies.training import train

model = tiny10(width=6, in_channels=1, seed=0)
checkpoints = {"epoch 0": deepcopy(model)}
train(
    model,
    *load_digits(12),
    epochs=5,
    progress=lambda epoch: checkpoints.update({f"epoch {epoch.number}": deepcopy(model)}),
)

ax = plot.training(repscope.compare(checkpoints, data=digits()))
ax.set_xlabel("epoch")
