"""Are there enough examples?
==========================

The same two networks on more and more examples. Biased CKA falls with their number, because a part of it is chance; the
unbiased estimator does not.
"""

from digit_networks import digits, network

import repscope
from repscope import plot

left, right = plot.panels(1, 2, size=(plot.PAGE / 2, 2.6))
for ax, estimator in ((left, "biased"), (right, "unbiased")):
    results = [
        repscope.compare(network(0), network(1), data=digits()[:n], estimator=estimator) for n in (16, 64, 256, 900)
    ]
    plot.sample_size(results, ax)
