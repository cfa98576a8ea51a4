"""The API of the map: entities, points, attributes and the layout of the spaces of a run."""
