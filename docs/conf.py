"""The site of these pages: `sphinx-build docs site`. Nothing of it is fetched from elsewhere when it is read."""

project = "Refold"
copyright = "the authors of Refold, Apache-2.0"  # noqa: A001 - the name that Sphinx reads
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["examples"]
html_theme = "furo"
html_title = "Refold"
html_copy_source = False
html_show_sphinx = False
myst_heading_anchors = 4
myst_links_external_new_tab = False
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # DuckDB's SQL has structs, which the highlighter does not know
