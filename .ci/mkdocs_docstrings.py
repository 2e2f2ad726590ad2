"""Adapt docstrings to the parser of the site.

Sphinx roles, such as ``:class:`Lake```, become code, and several exceptions of one entry
of ``Raises`` come to stand in one line.
"""

import re

import griffe

_ROLE = re.compile(r':(?:class|func|meth|mod|data|attr):`~?\.?([^`]+)`')
_WRAPPED = re.compile(r'(Error),\n\s+(?=\w+Error\b)')


class PlainDocstrings(griffe.Extension):
    """Rewrites docstrings while the package is read."""

    def on_object(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """Rewrite a docstring.

        Args:
            obj: What the docstring belongs to.
            kwargs: Unused.
        """
        if obj.docstring:
            text = _ROLE.sub(r'``\1``', obj.docstring.value)
            obj.docstring.value = _WRAPPED.sub(r'\1, ', text)
