"""Do seeds agree, layer by layer?
===============================

The same layer in networks from three seeds: the line is the mean over the pairs of networks, the band reaches from the
lowest pair to the highest. Untrained networks are the floor: what the architecture and the data alone have in common.
"""

from digit_networks import digits, network

import repscope
from repscope import plot

trained = {f"seed {seed}": network(seed) for seed in range(3)}
untrained = {f"seed {seed}": network(seed, epochs=0) for seed in range(3)}

ax = plot.same_layer(repscope.compare(trained, data=digits()), label="trained")
plot.same_layer(repscope.compare(untrained, data=digits()), ax, label="untrained", color="0.5", chance=False)
legend = ax.legend(frameon=False, loc="lower left")
