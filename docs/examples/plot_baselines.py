"""What is a score to be read against?
===================================

Each layer of a network against the same layer of a wider one, beside a ceiling and two floors: what networks score that
differ in nothing but their seed; an untrained network and the pixels themselves, which have learned nothing.
"""

from digit_networks import digits, network

import repscope

seeds = [network(seed) for seed in (1, 2)]
found = repscope.baselines(network(0), network(0, width=10), data=digits(), seeds=seeds)
print(found)

ax = found.plot(label="width 6 and 10")
legend = ax.legend(frameon=False, loc="lower left", fontsize="x-small")
