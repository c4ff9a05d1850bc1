"""Published experiments as code that runs: data, networks, training and the statistics of each study.

:mod:`~repscope.studies.digits` and :mod:`~repscope.studies.identification` need numpy only;
:mod:`~repscope.studies.networks` and :mod:`~repscope.studies.training` need PyTorch.
"""

from __future__ import annotations
