"""Published experiments as code that runs: data, networks, training and the statistics of each study.

:mod:`~repscope.studies.digits`, :mod:`~repscope.studies.datasets` and :mod:`~repscope.studies.identification` need
numpy only; :mod:`~repscope.studies.networks`, :mod:`~repscope.studies.training` and :mod:`~repscope.studies.zoo` need
PyTorch. :func:`repscope.studies.reproduce.reproduce` runs one of the :mod:`~repscope.studies.experiments` of
Kornblith et al. (2019).
"""

from __future__ import annotations
