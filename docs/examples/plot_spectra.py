"""How many directions does a layer use?
=====================================

The share of the variance that each principal component holds, for every layer of a trained network and of an untrained
one. Where a line falls steeply, a few directions dominate, and CKA sees little else of the layer.
"""

from digit_networks import digits, network

import repscope
from repscope import plot

models = {"trained": network(0), "untrained": network(0, epochs=0)}
result = repscope.compare(models, data=digits())

left, right = plot.panels(1, 2, size=(plot.PAGE / 2, 2.6))
plot.spectra(result, left)
plot.spectra(result, right, model="untrained")
