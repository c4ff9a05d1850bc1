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
    "sphinx_gallery.gen_gallery",
    "plain_bars",
    "catalogue",
    "commands",
    "no_requests",
]

root_doc = "index"
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_extensions", "examples"]
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

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "ignore_pattern": "digit_networks",
    "within_subsection_order": "gallery_order.ByQuestion",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "write_computation_times": False,
    "min_reported_time": 1e9,  # the same site whatever the speed of the machine
    "remove_config_comments": True,
    "show_signature": False,
    "copyfile_regex": r"digit_networks\.py",
    "image_srcset": ["2x"],
}

html_theme = "furo"
html_title = f"repscope {version}"
html_copy_source = False
html_show_sphinx = False
html_static_path: list[str] = []
html_theme_options = {"light_css_variables": {"code-font-size": "76%"}}  # a line of 95 characters fits
