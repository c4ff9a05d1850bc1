"""Several measures on one scale
=============================

The same two networks through four measures, in one figure as wide as a page.
"""

from digit_networks import digits, network

import repscope
from repscope import plot

measures = ["cka", "svcca", "cca", "linear_regression"]
results = repscope.compare(network(0), network(1), data=digits(), measure=measures, reduce="mean", layers="conv?.relu")
figure = plot.grid(list(results.values()), columns=4, width=plot.PAGE)
