"""How the documentation is built: ``make docs``, with warnings as errors and without the network."""

from __future__ import annotations

import sys
from pathlib import Path

import repscope

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "repscope"
author = "the repscope authors"
copyright = "the repscope authors. MIT licence"  # noqa: A001  (Sphinx's name)
version = release = repscope.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "catalogue",
    "no_requests",
]

root_doc = "index"
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_extensions"]
nitpicky = False
suppress_warnings: list[str] = []

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {"Array": "Array", "KernelLike": "Kernel", "Estimator": "Estimator"}
python_use_unqualified_type_names = True
maximum_signature_line_length = 90
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Range", "Invariances", "Limits"]
add_module_names = False

html_theme = "furo"
html_title = f"repscope {version}"
html_copy_source = False
html_show_sphinx = False
html_static_path: list[str] = []
