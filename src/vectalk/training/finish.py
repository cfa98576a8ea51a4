"""What a run leaves when training is over: weights, elm.json and a model card."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from vectalk.files import atomic_folder, write_text
from vectalk.model.run import FrameCard, LlmCard, Run, RunCard, SpaceCard, save_model, write_card
from vectalk.tasks.corpus.corpus import relative
from vectalk.training.stage import Progress

if TYPE_CHECKING:
    from vectalk.training.trainer import Trainer

LIBRARIES = ("vectalk", "torch", "transformers", "accelerate", "peft", "safetensors")


def finish(trainer: Trainer, progress: Progress, note: str = "") -> Run:
    """Write the finished run, a note in its README; elm.json comes last, since it is what makes the folder a run."""
    out, model = trainer.out, trainer.model
    if trainer.accelerator.is_main_process:
        shutil.rmtree(out / "weights.tmp", ignore_errors=True)
        with atomic_folder(out / "weights.tmp", "adapters") as part:
            save_model(part, model, trainer.trained, trainer.peft_model)
        for made in (out / "weights.tmp").iterdir():
            if (out / made.name).is_dir():  # left by a process that was stopped right here
                shutil.rmtree(out / made.name)
            os.replace(made, out / made.name)
        (out / "weights.tmp").rmdir()
        card = _card(trainer)
        write_text(out / "README.md", model_card(trainer, card, progress, note))
        write_card(out, card)
        trainer.folder.clean(trainer.stages)
    trainer.accelerator.wait_for_everyone()
    return Run.load(out)


def _card(trainer: Trainer) -> RunCard:
    language, out = trainer.language, trainer.out
    folder = Path(language.name).expanduser()
    name = os.path.relpath(folder.resolve(), out.resolve()) if folder.is_dir() else language.name
    return RunCard(
        llm=LlmCard(
            name=name,
            revision=language.revision,
            trained=trainer.trained,
            hidden_size=language.hidden_size,
            fingerprint=language.fingerprint,
            dtype=language.own_dtype,
        ),
        spaces={
            name: SpaceCard(
                path=relative(space.path, out),
                fingerprint=space.fingerprint,
                split_hash=space.split_hash,
                dim=space.dim,
                soft_tokens=trainer.config.adapter.soft_tokens,
                adapter=trainer.model.adapter(name).config.space,
            )
            for name, space in trainer.corpus.spaces.items()
        },
        template=trainer.prompts.template,
        template_hash=trainer.prompts.template_hash,
        frame=FrameCard(**asdict(trainer.prompts.frame)),
        corpus=os.path.relpath(trainer.corpus.path.resolve(), out.resolve()),
        versions={"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    )


def model_card(trainer: Trainer, card: RunCard, progress: Progress, note: str = "") -> str:
    """Return the README of a run: what it is, what it was made of, how well it read its vectors."""
    best = [min(trainer.folder.evaluations(s), key=lambda r: r["validation_loss"], default=None) for s in (1, 2)]
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
        for name, space in trainer.corpus.spaces.items()
    )
    revision = f" at `{card.llm.revision}`" if card.llm.revision else ""
    first = trainer.corpus.suite.tasks[0]
    place = trainer.out.name if trainer.out.is_absolute() else trainer.out.as_posix()  # a card may be shown to others
    return f"""# An Embedding Language Model

Made by vectalk: it answers questions about vectors of the spaces below, also about points where no entity is.
{f"{chr(10)}{note}{chr(10)}" if note else ""}
- Base LLM: `{card.llm.name}`{revision}; trained of it: {card.llm.trained}
- Tasks: {", ".join(f"`{task.name}`" for task in trainer.corpus.suite.tasks)}
- Targets written by: {trainer.corpus.card["teacher"]} ({trainer.corpus.card["counts"]["train"]} training examples)

Spaces:
{spaces}

Best evaluation of each stage, on validation entities. The gain is how much the loss rises when each question gets the
vector of another entity: near zero, the answers do not depend on the vector.

| stage | step | loss | loss, vectors shuffled | vector gain |
| --- | --- | --- | --- | --- |
{figures}

The last of these losses, by task:

| task | loss |
| --- | --- |
{by_task}

The steps took {progress.seconds / 60:.1f} minutes on `{trainer.accelerator.device}`; evaluations and checkpoints come
on top.

```
vectalk ask {place} "{first.prompts[0]}" {" ".join(f"--bind {slot}=..." for slot in first.slots)}
```
"""
