"""Many layers at once: every pair of every model from one stream of activations.

:mod:`accumulate` holds sums that merge, :mod:`tiles` turns activations into tiles of Gram matrices, :mod:`plan` chooses
the cheapest exact route for the memory at hand, and :mod:`stream` drives the passes over the data.
"""
