"""`ChatTemplate`: writes a conversation as text, in the first form that the template accepts.

Templates differ in what they accept: some raise an error for a system message, some read content only as a list of
parts. Others drop such content without an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vectalk.errors import LanguageModelError
from vectalk.llm.replies import Message, without_system

PLAIN = "none"  # in the place of a file: the plain question-and-answer format


@dataclass(frozen=True)
class Form:
    """The form in which a template accepts a conversation.

    Attributes:
        system: whether it accepts system messages; if not, their text is put before the user's first message.
        parts: whether content is a list of parts, such as `[{"type": "text", "text": "..."}]`.
    """

    system: bool = True
    parts: bool = False

    def __call__(self, conversation: Sequence[Message]) -> list[dict[str, Any]]:
        """Return a conversation in this form."""
        messages = list(conversation) if self.system else without_system(conversation)
        if not self.parts:
            return list(messages)
        return [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in messages]


FORMS = (Form(), Form(system=False), Form(parts=True), Form(system=False, parts=True))


class ChatTemplateError(LanguageModelError):
    """A chat template does not accept a conversation in any form."""


class ChatTemplate:
    """A chat template of one tokenizer.

    Args:
        tokenizer: the tokenizer that applies the template.
        text: the template; the tokenizer's own one when omitted.
        name: what to call the template in errors.
    """

    def __init__(self, tokenizer: Any, text: str | None = None, name: str | None = None) -> None:
        self.tokenizer, self.text = tokenizer, text
        owner = getattr(tokenizer, "name_or_path", "")
        self.name = name or (f"the chat template of LLM {owner!r}" if owner else "the chat template")

    def accept(self, *conversations: Sequence[Message], generate: bool = False) -> tuple[str, Form]:
        """Return the text of the first conversation that the template writes completely, and the form in which it does.

        Args:
            conversations: conversations to try, the preferred one first.
            generate: whether the text ends where an answer of the assistant begins.

        Raises:
            ChatTemplateError: the template accepts none of them; says what the template raised for the first one.
        """
        problems = []
        for conversation in conversations:
            for form in FORMS:
                try:
                    text = self._render(form(conversation), generate)
                except Exception as error:  # a template may raise anything
                    problems.append(str(error).strip() or type(error).__name__)
                    continue
                dropped = [message["role"] for message in conversation if message["content"] not in text]
                if not dropped:
                    return text, form
                problems.append(f"it drops the message of the {dropped[0]}")
        roles = ", ".join(message["role"] for message in conversations[0])
        raise ChatTemplateError(f"{self.name} does not accept a conversation ({roles}): {problems[0]}")

    def _render(self, messages: list[dict[str, Any]], generate: bool) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                messages,
                chat_template=self.text,
                tokenize=False,
                add_generation_prompt=generate,
                enable_thinking=False,  # templates without such a switch ignore it
            )
        )


def read_template(place: str | Path) -> str:
    """Return the text of a template file; `none`, which means the plain format, is returned as it is.

    Raises:
        LanguageModelError: there is no such file, or it holds no text.
    """
    if str(place) == PLAIN:
        return PLAIN
    file = Path(place).expanduser()
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise LanguageModelError(
            f"chat template {place} cannot be read: {reason}; give a Jinja file, or {PLAIN} for the plain "
            "question-and-answer format"
        ) from None
    if not text.strip():
        raise LanguageModelError(f"chat template {place} is empty; give a Jinja file, or {PLAIN}")
    return text
