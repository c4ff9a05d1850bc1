"""Which layers of two networks correspond?
========================================

Two networks of one architecture, trained from different seeds: every layer of one against every layer of the other.
Layer 1 is at bottom left, as in Kornblith et al. 2019.
"""

from digit_networks import digits, network

import repscope

result = repscope.compare({"seed 0": network(0), "seed 1": network(1)}, data=digits())
ax = result.between("seed 0", "seed 1").plot()

# %%
# All pairs of layers of all networks at once come from the same pass over the data. White lines separate the networks.

ax = result.plot()
