"""Writes the finished run after training: weights, elm.json and a model card."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from vectalk.files import atomic_folder, write_text
from vectalk.model.run import FrameCard, LlmCard, RunCard, SpaceCard, save_model, write_card
from vectalk.tasks.corpus.corpus import relative
from vectalk.training.result import Trained

LIBRARIES = ("vectalk", "torch", "transformers", "accelerate", "peft", "safetensors")


def finish(trained: Trained, note: str = "") -> None:
    """Write the finished run, with an optional note in its README; elm.json is last, since it marks a finished run."""
    out, config = trained.folder.path, trained.folder.config
    shutil.rmtree(out / "weights.tmp", ignore_errors=True)
    with atomic_folder(out / "weights.tmp", "adapters") as part:
        save_model(part, trained.model, trained.how, trained.peft_model)
    for folder in (out / "weights.tmp").iterdir():
        if (out / folder.name).is_dir():  # from a process that was stopped at this point
            shutil.rmtree(out / folder.name)
        os.replace(folder, out / folder.name)
    (out / "weights.tmp").rmdir()
    card = _card(trained)
    write_text(out / "README.md", model_card(trained, card, note))
    write_card(out, card)
    trained.folder.clean([config.stage1, config.stage2])


def _card(trained: Trained) -> RunCard:
    language, out, corpus = trained.model.language, trained.folder.path, trained.folder.corpus
    place = Path(language.name).expanduser()
    name = os.path.relpath(place.resolve(), out.resolve()) if place.exists() else language.name
    return RunCard(
        llm=LlmCard(
            name=name,
            revision=language.revision,
            trained=trained.how,
            hidden_size=language.hidden_size,
            fingerprint=language.fingerprint,
            dtype=language.own_dtype,
            load_in=trained.folder.config.load_in,
        ),
        spaces={
            name: SpaceCard(
                path=relative(space.path, out),
                fingerprint=space.fingerprint,
                split_hash=space.split_hash,
                dim=space.dim,
                soft_tokens=trained.folder.config.adapter.soft_tokens,
                adapter=trained.model.adapter(name).config.space,
            )
            for name, space in corpus.spaces.items()
        },
        template=trained.prompts.template,
        template_hash=trained.prompts.template_hash,
        frame=FrameCard(**asdict(trained.prompts.frame)),
        system=trained.prompts.system,
        corpus=os.path.relpath(corpus.path.resolve(), out.resolve()),
        versions={"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    )


def model_card(trained: Trained, card: RunCard, note: str = "") -> str:
    """Return the README of a run: its base LLM, tasks, spaces, and validation losses."""
    corpus, out = trained.folder.corpus, trained.folder.path
    best = [min(trained.folder.evaluations(s), key=lambda r: r["validation_loss"], default=None) for s in (1, 2)]
    figures = "\n".join(
        "| {stage} | {step} | {validation_loss:.4f} | {shuffled_loss:.4f} | {vector_gain:.4f} |".format(**row)
        for row in best
        if row is not None
    )
    losses: dict[str, float] = next((row["task_losses"] for row in reversed(best) if row is not None), {})
    by_task = "\n".join(f"| `{task}` | {loss:.4f} |" for task, loss in losses.items())
    spaces = "\n".join(
        f"- `{name}`: {len(space)} entities, {space.dim} dimensions, fingerprint `{space.fingerprint[:12]}`"
        + (f"; {space.licence}" if space.licence else "")
        for name, space in corpus.spaces.items()
    )
    revision = f" at `{card.llm.revision}`" if card.llm.revision else ""
    first = corpus.suite.tasks[0]
    place = out.name if out.is_absolute() else out.as_posix()  # a public card shows no absolute path
    return f"""# An Embedding Language Model

Made by vectalk. The model answers questions about vectors of the spaces below, also about points without an entity.
{f"{chr(10)}{note}{chr(10)}" if note else ""}
- Base LLM: `{card.llm.name}`{revision}; trained part: {card.llm.trained}
- Tasks: {", ".join(f"`{task.name}`" for task in corpus.suite.tasks)}
- Targets written by: {corpus.card["teacher"]} ({corpus.card["counts"]["train"]} training examples)

Spaces:
{spaces}

Best evaluation of each stage, on validation entities. The vector gain is the increase of the loss when each question
gets the vector of another entity. If the gain is near zero, the answers do not depend on the vector.

| stage | step | loss | loss, vectors shuffled | vector gain |
| --- | --- | --- | --- | --- |
{figures}

The loss of the last row, by task:

| task | loss |
| --- | --- |
{by_task}

The steps took {trained.progress.seconds / 60:.1f} minutes on `{trained.device}`, without evaluations and checkpoints.

```
vectalk ask {place} "{first.prompts[0]}" {" ".join(f"--bind {slot}=..." for slot in first.slots)}
```
"""
