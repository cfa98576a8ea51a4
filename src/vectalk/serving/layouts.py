"""`Layouts`: the layouts of the spaces of one server, opened when they are first needed."""

from __future__ import annotations

from vectalk.errors import SpaceError
from vectalk.serving.errors import ApiError
from vectalk.space import VectorSpace
from vectalk.space.layout import Layout


class Layouts:
    """Holds the layouts by the names of their spaces."""

    def __init__(self) -> None:
        self._layouts: dict[str, Layout] = {}

    def add(self, layout: Layout) -> None:
        """Hold a layout that may not be saved beside its space."""
        self._layouts[layout.space.name] = layout

    def of(self, space: VectorSpace) -> Layout:
        """Return the layout of a space.

        Raises:
            ApiError: there is none that fits (404).
        """
        if space.name not in self._layouts:
            try:
                self._layouts[space.name] = Layout.load(space)
            except SpaceError as error:
                message = str(error).replace(str(space.path), f"the folder of space {space.name!r}")
                raise ApiError(404, message, code="no_layout") from None
        return self._layouts[space.name]

    def has(self, space: VectorSpace) -> bool:
        """Return whether there is a layout that fits a space."""
        try:
            self.of(space)
        except ApiError:
            return False
        return True
