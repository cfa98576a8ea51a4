"""Creates the adapters of a run: one for each space, or one that several spaces share."""

from __future__ import annotations

from collections.abc import Mapping

from vectalk.errors import TrainingError
from vectalk.llm.loading import LanguageModel
from vectalk.model import ElmAdapter, ElmAdapterConfig
from vectalk.space import VectorSpace
from vectalk.training.config import TrainConfig


def make_adapters(
    spaces: Mapping[str, VectorSpace], config: TrainConfig, language: LanguageModel
) -> dict[str, ElmAdapter]:
    """Create untrained adapters.

    Args:
        spaces: spaces by name.
        config: settings; `config.adapter` is the shape of the adapters and the groups of spaces that share one.
        language: the LLM that reads the soft tokens.

    Returns:
        Space -> adapter; spaces that share one have the same object.

    Raises:
        TrainingError: a group of `adapter.shared` names an unknown space, or spaces of different dimension.
    """
    shape, adapters = config.adapter, dict[str, ElmAdapter]()
    groups = _groups(spaces, shape.shared)
    for number, name in enumerate(spaces):
        if name in adapters:
            continue
        group = groups.get(name, [name])
        adapter = ElmAdapter.create(
            ElmAdapterConfig(
                space=group[0],
                sharers=group[1:],
                vector_dim=spaces[name].dim,
                llm_hidden_size=language.hidden_size,
                soft_tokens=shape.soft_tokens,
                kind=shape.kind,
                width=shape.width,
                dropout=shape.dropout,
            ),
            [spaces[member].normalizer for member in group],
            language.embedding_rms,
            config.seed + number,
        )
        adapters.update(dict.fromkeys(group, adapter))
    return {name: adapters[name] for name in spaces}


def _groups(spaces: Mapping[str, VectorSpace], shared: list[list[str]]) -> dict[str, list[str]]:
    """Return the group of each space that shares an adapter: space -> names of all spaces in its group."""
    for group in shared:
        for name in group:
            if name not in spaces:
                raise TrainingError(
                    f"adapter.shared names the space {name!r}, which the corpus does not have; "
                    f"it has {', '.join(spaces)}"
                )
        dims = {name: spaces[name].dim for name in group}
        if len(set(dims.values())) > 1:
            sizes = ", ".join(f"{name} has {dim}" for name, dim in dims.items())
            raise TrainingError(
                f"adapter.shared: spaces that share an adapter must have vectors of one dimension, but {sizes}; "
                "leave one of them out of adapter.shared"
            )
    return {name: group for group in shared for name in group}
