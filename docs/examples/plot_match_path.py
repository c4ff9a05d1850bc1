"""Where does each layer find its counterpart?
===========================================

A network against one twice as wide. The marks show, for each layer of the rows, the column that matches it best; a path
along the diagonal means that depth corresponds.
"""

from digit_networks import digits, network

import repscope
from repscope import plot

models = {"6 channels": network(0), "12 channels": network(1, width=12)}
result = repscope.compare(models, data=digits()).between("6 channels", "12 channels")
ax = plot.match_path(result)

for match in result.best_match():
    print(match)
