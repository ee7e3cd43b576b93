"""How Sphinx builds the site: ``make docs``.

Nothing is asked of the network, neither when the site is built nor when it is read.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
# Pages and tutorials run the package: one thread pool, kernels in the checkout, no windows.
os.environ.setdefault("NUMBA_CACHE_DIR", str(HERE.parent / ".cache" / "kernels"))
os.environ.setdefault("MPLBACKEND", "agg")

import fastadv  # noqa: E402 - after the folder of its kernels is set

project = "fastadv"
author = "the fastadv authors"
copyright = "the fastadv authors"
version = release = fastadv.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    # in _ext:
    "mathml",
    "repository_links",
    "cli_page",
    "reference_pages",
    "short_names",
]
exclude_patterns = ["_build", "tutorials/*.rst", "reference/notes"]
templates_path = ["_templates"]
nitpicky = True
default_role = "py:obj"  # `name` in docstrings
suppress_warnings = ["config.cache"]  # sphinx_gallery_conf holds a function

# Text
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
highlight_language = "none"  # of blocks that do not say: commands and tables
html_math_renderer = "mathml"

# The API: numpydoc sections tell the types, so signatures do not.
autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"exclude-members": "set_fit_request, set_score_request"}
numpydoc_show_class_members = False
# Of what has a page: a docstring with a summary that ends; sections that are known and in order,
# and say something of each parameter that they name, of which none is made up.
numpydoc_validation_checks = {
    "GL06", "GL07", "GL08", "SS03", "PR02", "PR04", "PR07", "PR10", "RT03", "RT04", "RT05", "YD01",
}  # fmt: skip

# Tutorials: every docs/tutorials/plot_*.py runs when the site is built.
sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "abort_on_example_error": True,
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,
}

# The look: everything that a page needs is in the site itself.
html_theme = "pydata_sphinx_theme"
html_title = "fastadv"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars = {"index": [], "cli": []}
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "footer_start": ["copyright"],
    "footer_end": [],
    "navbar_align": "left",
    "pygments_light_style": "tango",
    "pygments_dark_style": "github-dark",
}


def no_protocol_is_called(_app, what, _name, thing, _options, _signature, _returns):
    """Show no signature of a protocol: a class keeps to it, nobody makes one."""
    return ("", "") if what == "class" and getattr(thing, "_is_protocol", False) else None


def setup(app):
    """Say what is ours alone."""
    app.connect("autodoc-process-signature", no_protocol_is_called)
