"""Links between layers
====================

The same question for readers who think in layers, not in matrices: each layer is joined to its best match, the thicker
the more alike. Coloured links are mutual, grey ones best from one side only.
"""

from digit_networks import digits, network

import repscope
from repscope import plot

models = {"6 channels": network(0), "12 channels": network(1, width=12)}
result = repscope.compare(models, data=digits()).between("6 channels", "12 channels")
ax = plot.correspondence(result)
