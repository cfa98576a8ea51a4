"""Prompts: turns a question with slots into token ids, positions of soft tokens, and labels.

Text pieces and slots are tokenised separately, so that no text of a user can become a slot or a special token.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from vectalk.errors import LanguageModelError, PromptError
from vectalk.llm.chat_template import PLAIN, ChatTemplate, ChatTemplateError, Form, read_template
from vectalk.llm.replies import Message
from vectalk.llm.tokenizer import load_tokenizer
from vectalk.model.conversation import EarlierTurn, name_in_turn
from vectalk.tasks.suite import pieces_of, slots_in

IGNORED = -100
REMEMBERED = 300  # longest text, in characters, whose tokens are cached: the wordings of tasks repeat
# For models without a chat template: plain question and answer, as a template that a server can apply.
PLAIN_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "{{ message['content'] }}{{ eos_token }}\n{% else %}Question: {{ message['content'] }}\nAnswer:\n"
    "{% endif %}{% endfor %}"
)
_USER, _ANSWER = "@@vectalk-question@@", "@@vectalk-answer@@"
_MARK = re.compile(r"@@vectalk-turn-\d+@@")
_QUESTION, _REPLY = {"role": "user", "content": _USER}, {"role": "assistant", "content": _ANSWER}


@dataclass(frozen=True)
class SlotPlace:
    """Position of one slot in a prompt: `length` soft tokens of a space, from position `start` on."""

    name: str
    space: str
    start: int
    length: int


@dataclass(frozen=True)
class Frame:
    """Text that the template writes around question and answer; a run stores it, since templates may write the date.

    Attributes:
        before: text before the question.
        after: text between question and answer.
        end: text after the answer.
    """

    before: str
    after: str
    end: str


@dataclass(frozen=True)
class Prompt:
    """A tokenised question.

    Attributes:
        ids: token ids [T]; at soft tokens the pad id, which the LLM never reads.
        slots: positions of the slots, in order of appearance.
        labels: [T], ids of the answer and its end token, which are to be learned; -100 elsewhere.
    """

    ids: tuple[int, ...]
    slots: tuple[SlotPlace, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)


class PromptFormat:
    """Turns questions into prompts for one tokenizer.

    Args:
        tokenizer: the LLM's tokenizer; its chat template is used if it has one.
        soft_tokens: space -> number S of soft tokens per vector.
        template: a chat template that overrides the tokenizer's; `none` for the plain format.
        frame: what the template wrote when the model was trained; None: rendered again.
        template_name: name of the template in errors.
        system: text of a system message before every question; None: what the template writes without one.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        soft_tokens: dict[str, int],
        template: str | None = None,
        frame: Frame | None = None,
        template_name: str | None = None,
        system: str | None = None,
    ) -> None:
        self.tokenizer, self.soft_tokens, self.system = tokenizer, soft_tokens, system
        self.template = _plain_of(tokenizer) if template == PLAIN else template or _template_of(tokenizer)
        if system is not None and self.template == _plain_of(tokenizer):
            raise LanguageModelError(
                f"system_prompt is {system!r}, but the plain question-and-answer format has no place for it; leave "
                "system_prompt out, or take an LLM with a chat template (or --chat-template FILE)"
            )
        self._chat = ChatTemplate(tokenizer, self.template, template_name)
        self.pad_id = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
        self.frame = frame or self._rendered()
        self.before, self.after = self._special(self.frame.before), self._inside(self.frame.after)
        self.end = self._end_of_answer(self.frame.end)
        added = sorted((str(token) for token in tokenizer.get_added_vocab()), key=len, reverse=True)
        self._added = re.compile("|".join(map(re.escape, added))) if added else None
        self._text = lru_cache(maxsize=65_536)(self._tokenise)
        self._joints = lru_cache(maxsize=64)(self._rendered_joints)

    @property
    def template_hash(self) -> str:
        """sha256 of the template, stored with a run: another template means another prompt."""
        return hashlib.sha256(self.template.encode()).hexdigest()

    @cached_property
    def tokenizer_hash(self) -> str:
        """sha256 of the tokenizer: another one means other ids."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        whole = backend.to_str() if backend is not None else repr(sorted(self.tokenizer.get_vocab().items()))
        kind = type(self.tokenizer).__name__
        return hashlib.sha256(f"{kind}:{self.pad_id}:{self.end}:{whole}".encode()).hexdigest()

    @property
    def stop_ids(self) -> list[int]:
        """Tokens that end an answer."""
        return sorted({self.end[-1], int(self.tokenizer.eos_token_id)})

    @cached_property
    def form(self) -> Form:
        """The form in which the template accepts a question."""
        return self._chat.accept([*self._start, _QUESTION], generate=True)[1]

    @property
    def _start(self) -> list[Message]:
        """The messages before a question: the system message, if there is one."""
        return [] if self.system is None else [{"role": "system", "content": self.system}]

    def _rendered(self) -> Frame:
        """Render the template around markers, and cut the text at the markers."""
        try:
            question = [*self._start, _QUESTION]
            asked, _ = self._chat.accept(question, generate=True)
            # Some templates accept no conversation that ends with an answer.
            answered, _ = self._chat.accept([*question, _REPLY], [*question, _REPLY, _QUESTION])
        except ChatTemplateError as error:
            raise LanguageModelError(
                f"{error}; train with another template (--chat-template FILE), or with the plain question-and-answer "
                "format (--chat-template none)"
            ) from None
        before, _, after = asked.partition(_USER)
        end = answered.partition(_ANSWER)[2].partition(_USER)[0]
        return Frame(before, after, end)

    def _special(self, text: str) -> tuple[int, ...]:
        """Tokenise a piece of the template; special tokens in it are special tokens."""
        return tuple(self.tokenizer(text, add_special_tokens=False).input_ids) if text else ()

    def _tokenise(self, text: str) -> tuple[int, ...]:
        """Tokenise text of a person; special and other added tokens in it are plain text."""
        # Not every tokenizer has an option that treats such a token as text. So the text is cut after the token's first
        # letter, and the parts are tokenised separately.
        cuts = [match.start() + 1 for match in self._added.finditer(text)] if self._added is not None else []
        parts = [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]
        return tuple(token for part in parts for token in self._inside(part, split_special_tokens=True))

    def answers(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Tokenise many target texts at once, without the end token; the ids are those of `__call__`."""
        answers: list[tuple[int, ...]] = [()] * len(texts)
        plain = [i for i, text in enumerate(texts) if text and not (self._added and self._added.search(text))]
        mark = self._mark
        lines = [("\n" if mark else "") + texts[i] for i in plain]
        if lines:
            encoded = self.tokenizer(lines, add_special_tokens=False, split_special_tokens=True).input_ids
            for i, ids in zip(plain, encoded, strict=True):
                answers[i] = tuple(ids[len(mark) :]) if tuple(ids[: len(mark)]) == mark else self._tokenise(texts[i])
        for i in set(range(len(texts))) - set(plain):
            answers[i] = self._tokenise(texts[i])
        return answers

    def _inside(self, text: str, **options: Any) -> tuple[int, ...]:
        """Tokenise a text that is in the middle of a longer text.

        Some tokenizers add a blank before every text, as if it were the start of a document. After a line break they do
        not add one, so such a text is tokenised after a line break, whose ids are then removed.
        """
        if not text:
            return ()
        mark = self._mark
        if mark:
            marked = tuple(self.tokenizer("\n" + text, add_special_tokens=False, **options).input_ids)
            if marked[: len(mark)] == mark:
                return marked[len(mark) :]
        return tuple(self.tokenizer(text, add_special_tokens=False, **options).input_ids)

    @cached_property
    def _mark(self) -> tuple[int, ...]:
        """Ids of a line break, for a tokenizer that adds a blank before every text; else empty."""
        alone, mark, both = (tuple(self.tokenizer(t, add_special_tokens=False).input_ids) for t in ("a", "\n", "\na"))
        return mark if both[: len(mark)] == mark and both[len(mark) :] != alone else ()

    def _end_of_answer(self, text: str) -> tuple[int, ...]:
        ids, special = self._special(text), self._special_ids()
        for i, token in enumerate(ids):
            if token in special:
                return ids[: i + 1]
        return (int(self.tokenizer.eos_token_id),)

    def _special_ids(self) -> set[int]:
        """Ids of special tokens, also of those that the tokenizer has no name for (often an end of turn)."""
        unnamed = {i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        return unnamed | set(self.tokenizer.all_special_ids)

    def __call__(
        self, question: str, spaces: dict[str, str], target: str | None = None, earlier: Sequence[EarlierTurn] = ()
    ) -> Prompt:
        """Tokenise a question.

        Args:
            question: text with slots, such as `Summarise {film}.`; `{{film}}` is plain text.
            spaces: slot name -> space.
            target: the answer to learn; None: the prompt ends where the answer begins.
            earlier: the turns of the conversation before the question; their slots are named by `name_in_turn`.

        Raises:
            PromptError: a slot is not bound, a binding has no slot, or the target is empty.
            LanguageModelError: the chat template accepts no earlier turns.
        """
        check_slots(question, spaces)
        ids, slots = list(self.before), list[SlotPlace]()
        joints = self._joints(len(earlier)) if earlier else ()
        for number, (turn, (after_question, after_answer)) in enumerate(zip(earlier, joints, strict=True)):
            check_slots(turn.question, turn.slots)
            names = {slot: (name_in_turn(number, slot), space) for slot, (space, _) in turn.slots.items()}
            self._append(ids, slots, turn.question, names)
            ids += (*after_question, *self._tokenise(turn.answer), *after_answer)
        self._append(ids, slots, question, {slot: (slot, space) for slot, space in spaces.items()})
        ids += self.after
        labels = [IGNORED] * len(ids)
        if target is not None:
            answer = [*self._tokenise(target), *self.end]
            if len(answer) == len(self.end):
                raise PromptError(f"question {question!r}: the target is empty")
            ids += answer
            labels += answer
        return Prompt(tuple(ids), tuple(slots), tuple(labels))

    def _append(
        self, ids: list[int], slots: list[SlotPlace], question: str, names: Mapping[str, tuple[str, str]]
    ) -> None:
        """Append the tokens and slots of a question; `names` maps a slot to its name in the prompt and its space."""
        for text, is_slot in pieces_of(question):
            if is_slot:
                name, space = names[text]
                length = self.soft_tokens[space]
                slots.append(SlotPlace(name, space, len(ids), length))
                ids += [self.pad_id] * length
            else:
                ids += self._text(text) if len(text) <= REMEMBERED else self._tokenise(text)

    def _rendered_joints(self, turns: int) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
        """Return for each earlier turn the ids that the template writes after its question, and after its answer."""
        roles = ["user" if n % 2 == 0 else "assistant" for n in range(2 * turns + 1)]
        marked = [{"role": role, "content": f"@@vectalk-turn-{n}@@"} for n, role in enumerate(roles)]
        text, _ = self._chat.accept(marked, generate=True)
        pieces = _MARK.split(text)
        if len(pieces) != len(marked) + 1:
            raise LanguageModelError(
                f"{self._chat.name} writes a message of a conversation more than once; ask without the history"
            )
        joints = [self._inside(piece) for piece in pieces[1:-1]]
        return tuple(zip(joints[::2], joints[1::2], strict=True))

    def show(self, prompt: Prompt) -> str:
        """Return a prompt as text for people: slots in braces, supervised tokens between »« marks."""
        starts = {slot.start: slot for slot in prompt.slots}
        parts, i, n = [], 0, len(prompt)
        while i < n:
            if i in starts:
                parts.append(f"{{{starts[i].name}: {starts[i].length} soft tokens}}")
                i += starts[i].length
                continue
            supervised, j = prompt.labels[i] != IGNORED, i
            while j < n and j not in starts and (prompt.labels[j] != IGNORED) == supervised:
                j += 1
            text = str(self.tokenizer.decode(list(prompt.ids[i:j])))
            parts.append(f"»{text}«" if supervised else text)
            i = j
        return "".join(parts)


def open_format(llm: str, soft_tokens: dict[str, int], chat_template: str | Path | None = None) -> PromptFormat:
    """Return the prompt format of an LLM of which only the tokenizer is loaded.

    Args:
        llm: hub name, folder or GGUF file.
        soft_tokens: S of each space.
        chat_template: Jinja file, or `none` for the plain format; the LLM's own chat template when omitted.

    Raises:
        LanguageModelError: there is no such LLM or file, or the template cannot be used.
    """
    tokenizer = load_tokenizer(llm)
    if chat_template is None:
        return PromptFormat(tokenizer, soft_tokens)
    name = f"the chat template {chat_template}"
    return PromptFormat(tokenizer, soft_tokens, read_template(chat_template), template_name=name)


def check_slots(question: str, bound: Iterable[str]) -> None:
    """Raise a PromptError when a slot of a question is not bound, or a bound name has no slot."""
    slots, bound = slots_in(question), list(bound)
    for slot in slots:
        if slot not in bound:
            raise PromptError(
                f"question {question!r}: slot {{{slot}}} has no vector; bind it, or write {{{{{slot}}}}} for plain text"
            )
    for slot in bound:
        if slot not in slots:
            raise PromptError(f"question {question!r} has no slot {{{slot}}} for the vector bound to it")


def _template_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the tokenizer's chat template (the default one of several), or the plain template if it has none."""
    template: Any = tokenizer.chat_template
    if isinstance(template, dict):
        if "default" not in template:
            names = ", ".join(map(repr, template))
            raise LanguageModelError(f"the tokenizer holds the chat templates {names}, and none is called 'default'")
        template = template["default"]
    if template:
        return str(template)
    return _plain_of(tokenizer)


def _plain_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the plain format, with a start token if the tokenizer puts one before each text."""
    starts_with_bos = tokenizer("x").input_ids[:1] == [tokenizer.bos_token_id]
    return ("{{ bos_token }}" if starts_with_bos else "") + PLAIN_TEMPLATE
