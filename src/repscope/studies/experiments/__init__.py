"""The experiments of Kornblith et al. (2019), one file each; each holds a ``STUDY``."""

from __future__ import annotations
