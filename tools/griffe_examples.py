"""Docstrings here say `Example:`; the site's reader of docstrings knows `Examples:` only."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Makes a section of code of every `Example:`."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Renames the section of an object's docstring, if it has one."""
        if obj.docstring is not None:
            text = obj.docstring.value
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
