"""Similarity and distance of two representations, as pure functions over the Array API.

Each measure is a pair ``prepare(x) -> state`` (once per layer) and ``score(state_x, state_y)`` (once per pair);
the public function of two arrays is ``score(prepare(x), prepare(y))``. :mod:`repscope.measures.catalog` declares
what holds for each of them.
"""
