"""Reports: one HTML file that shows comparisons in any browser, needs no network, and can be mailed.

:func:`write` makes the file. The page is assembled in :mod:`repscope.report.page`, from what
:mod:`repscope.report.payload` makes of each comparison; script and style are files of their own in ``assets/``, and
the charts are drawn by plotly.js, which comes with this package (``vendor/``).
"""

from repscope.report.page import write

__all__ = ["write"]
