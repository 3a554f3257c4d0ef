"""The site of the documents: Markdown (MyST) by Sphinx. `bin/docs` builds it.

Nothing in it is loaded from elsewhere: Furo uses the reader's own fonts, and its scripts lie beside
the pages.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

project = "hitl-pipeline"
copyright = "the hitl-pipeline contributors, Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = project
html_copy_source = False
html_show_sourcelink = False
myst_heading_anchors = 4  # as GitHub makes them, so that a link works there as well

# Our docstrings say `name` as Markdown does.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {
    "members": True,
    "undoc-members": True,
    "exclude-members": "model_config",
}
