"""A run as a plain LLM folder with its adapters beside, for servers that know nothing of vectors."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from vectalk.errors import RunError
from vectalk.files import atomic_folder, write_json
from vectalk.llm.quiet import hushed
from vectalk.llm.tokenizer import load_tokenizer
from vectalk.model.prompt import PromptFormat
from vectalk.model.run import FrameCard, Run
from vectalk.reading.cards import read_card, stamp
from vectalk.reading.fields import FolderName
from vectalk.tasks.suite import pieces_of

MARKER, FORMAT = "vectalk-export.json", 1
# A server may give what a user says in parts, words and vectors; they are joined as they stand, with nothing between.
JOINED = (
    "{%- set joined = namespace(messages=[]) -%}{%- for message in messages -%}"
    "{%- set said = namespace(text='') -%}{%- if message['content'] is string -%}"
    "{%- set said.text = message['content'] -%}{%- else -%}{%- for part in message['content'] -%}"
    "{%- set said.text = said.text + part['text'] -%}{%- endfor -%}{%- endif -%}"
    "{%- set joined.messages = joined.messages + [dict(message, content=CONTENT)] -%}{%- endfor -%}"
    "{%- set messages = joined.messages -%}"
)


class ExportCard(BaseModel):
    """`vectalk-export.json`, as far as an engine reads it.

    Attributes:
        soft_tokens: space -> positions that one of its vectors becomes.
        stop_ids: tokens that end an answer.
        template: what was written around questions.
        frame: see `Frame`.
        adapters: space -> the space under whose name its adapter is saved.
        ids_equal: whether a server's own rendering gives the same tokens.
        question: the first for which it does not.
    """

    model_config = ConfigDict(strict=True)

    soft_tokens: dict[str, Annotated[int, Field(ge=1)]]
    stop_ids: list[int]
    template: str
    frame: FrameCard
    adapters: dict[str, FolderName]
    ids_equal: bool = False
    question: str = ""

    @classmethod
    def read(cls, folder: Path) -> ExportCard:
        """Read the card of an export.

        Raises:
            RunError: it is malformed, or of another format.
        """
        try:
            card: ExportCard = read_card(folder / MARKER, FORMAT, cls, RunError)
        except RunError as error:
            raise RunError(f"{error}; or export the run again") from None
        return card


def export_merged(
    run: Run, out: str | Path, *, llm: str | None = None, device: str = "cpu", overwrite: bool = False
) -> dict[str, Any]:
    """Write the LLM of a run, a low-rank update merged into it, with tokenizer, chat template and adapters.

    The weights are written in the type that the base LLM has them in.

    The template that the run was trained with becomes the tokenizer's chat template. Every question of the run's tasks
    is then rendered from the folder as a server would do it, slots written as words, and compared with our own ids:
    a tokenizer may join what we keep apart.

    Args:
        run: a finished run.
        out: folder to make.
        llm: another place of the base LLM, where it moved.
        device: where the weights are merged.
        overwrite: replace an older export.

    Returns:
        What is written to `vectalk-export.json`: `ids_equal`, and for the first question that differs both renderings.
    """
    model, prompts = run.model(device, llm, merged=True)
    with atomic_folder(out, MARKER, overwrite=overwrite) as folder:
        with hushed():
            if run.card.llm.dtype is not None:
                model.llm.to(getattr(torch, run.card.llm.dtype))
            model.llm.save_pretrained(folder)
            tokenizer = prompts.tokenizer
            # Some templates read content only as a list of parts.
            content = "[{'type': 'text', 'text': said.text}]" if prompts.form.parts else "said.text"
            tokenizer.chat_template = JOINED.replace("CONTENT", content) + prompts.template
            tokenizer.save_pretrained(folder)
            for name in model.adapters:
                if model.adapter(name).config.space == name:  # what several spaces share is saved once
                    model.adapter(name).save_pretrained(folder / "adapters" / name)
        report = {
            **stamp(FORMAT),
            "run": str(run.path),
            "soft_tokens": prompts.soft_tokens,
            "stop_ids": prompts.stop_ids,
            "template": prompts.template,
            "frame": asdict(prompts.frame),
            "adapters": {name: model.adapter(name).config.space for name in model.adapters},
            **compare_ids(run, prompts, folder),
        }
        write_json(folder / MARKER, report)
    return report


def compare_ids(run: Run, prompts: PromptFormat, folder: Path) -> dict[str, Any]:
    """Compare our ids of every question of a run's tasks with those that a folder's chat template renders."""
    theirs = load_tokenizer(str(folder))
    for task in run.suite.tasks:
        for wording in task.prompts:
            question = "".join(text for text, _ in pieces_of(wording))
            ours = list(prompts(question.replace("{", "{{").replace("}", "}}"), {}).ids)
            rendered: Any = theirs.apply_chat_template(
                [{"role": "user", "content": question}],
                add_generation_prompt=True,
                tokenize=False,
                enable_thinking=False,
            )
            found = theirs(rendered, add_special_tokens=False).input_ids
            if found != ours:
                words = [[str(theirs.decode([token])) for token in ids] for ids in (ours, found)]
                return {"ids_equal": False, "question": question, "ours": words[0], "rendered": words[1]}
    return {"ids_equal": True}
