"""Pictures of one's own
=====================

Curves with bands, points and colours for them, in panels: what the other pictures are made of takes numbers, not
comparisons. Left, which layers of one network are most alike another's. Middle and right, the first two principal
components of one layer in both, each image in the colour of its place in the first (figure 1 of Kornblith et al. 2019).
"""

import numpy as np
from digit_networks import digits, network

import repscope
from repscope import plot
from repscope.capture import representations

networks = [network(0), network(1)]
layers = [f"conv{i}.relu" for i in range(1, 8)]
result = repscope.compare(*networks, data=digits(), layers=layers, reduce="mean")
curve_of_cka, first, second = plot.panels(1, 3, size=(3.2, 2.6))
plot.curve(np.diagonal(result.values), curve_of_cka, errors=np.diagonal(result.interval()[1] - result.values))
curve_of_cka.set(xlabel="layer", ylabel="CKA with the same layer", ylim=(0, 1))


def components(model):
    """The first two principal components of the fifth layer, (images, 2)."""
    x = representations(model, digits(), "conv5.relu", reduce="mean")["conv5.relu"].numpy()
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    return u[:, :2] * s[:2]


a, b = map(components, networks)
b = b * np.sign((a * b).sum(axis=0))  # the sign of a component is free
for ax, found, title in ((first, a, "seed 0"), (second, b, "seed 1")):
    plot.points(found[:, 0], found[:, 1], ax, colors=plot.hues(a[:, 0], a[:, 1]))
    ax.set(xlabel="PC 1", ylabel="PC 2", title=title)
