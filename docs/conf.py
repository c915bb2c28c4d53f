"""Sphinx: the site that `make docs` builds from the Markdown of this folder."""

from importlib import metadata

project = "GLoSS"
author = "The GLoSS team"
project_copyright = "The GLoSS team, Apache License 2.0"
release = version = metadata.version("gloss-rec")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
nitpicky = False

# Docstrings are plain text in which `name` is code.
default_role = "code"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": False}

html_theme = "furo"
html_title = "GLoSS"
html_copy_source = False
html_show_sphinx = False
