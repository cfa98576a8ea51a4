"""Export of a run as a plain LLM folder plus its adapters, for servers without support for vectors."""

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
# A server may pass a user message as a list of parts, words and vectors. The template joins them without a separator.
JOINED = (
    "{%- set joined = namespace(messages=[]) -%}{%- for message in messages -%}"
    "{%- set said = namespace(text='') -%}{%- if message['content'] is string -%}"
    "{%- set said.text = message['content'] -%}{%- else -%}{%- for part in message['content'] -%}"
    "{%- set said.text = said.text + part['text'] -%}{%- endfor -%}{%- endif -%}"
    "{%- set joined.messages = joined.messages + [dict(message, content=CONTENT)] -%}{%- endfor -%}"
    "{%- set messages = joined.messages -%}"
)


class ExportCard(BaseModel):
    """The fields of `vectalk-export.json` that an engine reads.

    Attributes:
        soft_tokens: space -> number of soft tokens per vector.
        stop_ids: tokens that end an answer.
        template: chat template of the run.
        frame: text around question and answer; see `Frame`.
        adapters: space -> name of the space whose folder has its adapter.
        ids_equal: whether a server that renders the chat template itself gets the same token ids.
        question: the first question whose token ids differ; empty when none does.
        recommended: sampling settings that the LLM recommends.
    """

    model_config = ConfigDict(strict=True)

    soft_tokens: dict[str, Annotated[int, Field(ge=1)]]
    stop_ids: list[int]
    template: str
    frame: FrameCard
    adapters: dict[str, FolderName]
    ids_equal: bool = False
    question: str = ""
    recommended: dict[str, int | float] = Field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> ExportCard:
        """Read the card of an export.

        Raises:
            RunError: the card is malformed, or of another format.
        """
        try:
            card: ExportCard = read_card(folder / MARKER, FORMAT, cls, RunError)
        except RunError as error:
            raise RunError(f"{error}; or export the run again with `vectalk export`") from None
        return card


def export_merged(
    run: Run, out: str | Path, *, llm: str | None = None, device: str = "cpu", overwrite: bool = False
) -> dict[str, Any]:
    """Write the LLM of a run, with any low-rank update merged into it, plus tokenizer, chat template and adapters.

    The weights are written in the dtype of the base LLM.

    The template that the run was trained with becomes the tokenizer's chat template. The function then renders every
    question of the run's tasks from the folder as a server would, with slots written as words, and compares the token
    ids with those of vectalk. They can differ because vectalk tokenises text and slots separately.

    Args:
        run: a finished run.
        out: folder to create.
        llm: new place of the base LLM, if it was moved.
        device: device on which the weights are merged.
        overwrite: replace an older export in `out`.

    Returns:
        The content of `vectalk-export.json`: among others `ids_equal`, and both renderings of the first question that
        differs.
    """
    model, prompts = run.model(device, llm, merged=True)
    with atomic_folder(out, MARKER, overwrite=overwrite) as folder:
        with hushed():
            if run.card.llm.dtype is not None:
                model.llm.to(getattr(torch, run.card.llm.dtype))
            model.llm.save_pretrained(folder)
            tokenizer = prompts.tokenizer
            tokenizer.chat_template = _server_template(prompts)
            tokenizer.save_pretrained(folder)
            for name in model.adapters:
                if model.adapter(name).config.space == name:  # an adapter that several spaces share is saved once
                    model.adapter(name).save_pretrained(folder / "adapters" / name)
        report = {
            **stamp(FORMAT),
            "run": str(run.path),
            "soft_tokens": prompts.soft_tokens,
            "stop_ids": prompts.stop_ids,
            "template": prompts.template,
            "frame": asdict(prompts.frame),
            "adapters": {name: model.adapter(name).config.space for name in model.adapters},
            "recommended": model.language.recommended,
            **compare_ids(run, prompts, folder),
        }
        write_json(folder / MARKER, report)
    return report


def _server_template(prompts: PromptFormat) -> str:
    """Return the chat template of a run for a server: it joins parts of messages, and adds the system prompt."""

    def content(text: str) -> str:  # some templates read content only as a list of parts
        return f"[{{'type': 'text', 'text': {text}}}]" if prompts.form.parts else text

    joined = JOINED.replace("CONTENT", content("said.text"))
    if prompts.system is None:
        return joined + prompts.template
    system = ascii(prompts.system)  # Jinja reads the escapes of Python
    if prompts.form.system:
        messages = f"[{{'role': 'system', 'content': {content(system)}}}] + messages"
    else:  # as `without_system` does
        question = "messages[0]['content'][0]['text']" if prompts.form.parts else "messages[0]['content']"
        folded = content(f"{system} + {chr(10) * 2!a} + {question}")
        messages = f"[dict(messages[0], content={folded})] + messages[1:]"
    start = "{%- if messages[0]['role'] != 'system' -%}{%- set messages = MESSAGES -%}{%- endif -%}"
    return joined + start.replace("MESSAGES", messages) + prompts.template


def compare_ids(run: Run, prompts: PromptFormat, folder: Path) -> dict[str, Any]:
    """Compare vectalk's token ids of every question of a run with the ids that a folder's chat template gives."""
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
            ids = theirs(rendered, add_special_tokens=False).input_ids
            if ids != ours:
                words = [[str(theirs.decode([token])) for token in row] for row in (ours, ids)]
                return {"ids_equal": False, "question": question, "ours": words[0], "rendered": words[1]}
    return {"ids_equal": True}
