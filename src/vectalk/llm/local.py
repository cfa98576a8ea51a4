"""`LocalTransport`: an LLM in this process in place of an endpoint; it answers concurrent requests in batches."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from vectalk.errors import LanguageModelError, TeacherError
from vectalk.llm.chat_template import ChatTemplate
from vectalk.llm.endpoint import problems_of, with_settings
from vectalk.llm.replies import Message, Reply
from vectalk.llm.reply_reader import EXCERPT, split_reasoning
from vectalk.llm.transport import Sleep

# Files next to the weights that affect prompts and answers.
OTHER_FILES = ("*.json", "*.jinja", "*.model", "*.txt")
# A conversation with all roles, to find the form that a chat template accepts.
PROBE: list[Message] = [
    {"role": "system", "content": "Alpha."},
    {"role": "user", "content": "Beta."},
    {"role": "assistant", "content": "Gamma."},
    {"role": "user", "content": "Delta."},
]


class LocalModel(BaseModel):
    """A causal LLM of Hugging Face with a chat template, run in this process.

    Attributes:
        model: folder or GGUF file, else `owner/name` on the hub.
        device: `cpu`, `cuda`, ...; CUDA if available, else the CPU, when omitted.
        max_reply_tokens: longest reply, in tokens.
        batch_size: number of prompts in a batch.
        params: settings of generation, such as `{temperature: 0.7, top_p: 0.9}`; greedy when omitted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1)
    device: str | None = None
    max_reply_tokens: int = Field(400, ge=1)
    batch_size: int = Field(8, ge=1)
    params: dict[str, Any] = Field(default_factory=dict)

    @field_validator("params")
    @classmethod
    def _has_no_limit(cls, values: dict[str, Any]) -> dict[str, Any]:
        if "max_new_tokens" in values:
            raise ValueError("max_new_tokens is set by max_reply_tokens")
        return values

    @classmethod
    def read(cls, **settings: Any) -> LocalModel:
        """Return checked settings; `params.NAME` is one of `params`.

        Raises:
            TeacherError: a setting is missing or malformed.
        """
        if "model" not in settings:
            raise TeacherError("no model is named: give hf:FOLDER, or hf:OWNER/NAME of a model on the hub")
        try:
            return cls(**with_settings({}, settings))
        except ValidationError as error:
            raise TeacherError(f"the LLM hf:{settings['model']}: {problems_of(error, cls)}") from None


class LocalTransport:
    """Answers in batches with one loaded LLM.

    Args:
        settings: which LLM, and how it answers.

    Raises:
        TeacherError: the LLM cannot be loaded, or has no chat template that accepts a conversation.
    """

    def __init__(self, settings: LocalModel) -> None:
        import torch

        from vectalk.llm.loading import load_weights
        from vectalk.llm.location import locate_llm
        from vectalk.llm.tokenizer import tokenizer_of

        self.settings, self.model = settings, settings.model
        place = Path(self.model).expanduser()
        self.name = f"hf:{place.resolve().name if place.exists() else self.model}"
        self.say: Callable[[str], None] = lambda message: None
        self.params = {"max_new_tokens": settings.max_reply_tokens, **settings.params}
        self.reply_limit, self.concurrency = settings.max_reply_tokens, settings.batch_size
        device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            source = locate_llm(self.model)
            self._tokenizer: Any = tokenizer_of(source)
            llm: Any = load_weights(source)
            self._llm = llm.to(device).eval()
        except LanguageModelError as error:
            raise TeacherError(str(error)) from None
        except RuntimeError as error:
            raise TeacherError(f"LLM {self.model!r} cannot be put on {device}: {str(error).splitlines()[0]}") from None
        self._tokenizer.padding_side = "left"
        if not self._tokenizer.chat_template:
            raise TeacherError(f"LLM {self.model!r} has no chat template; take an LLM that follows instructions")
        self.identity = identity_of(self.model)
        try:
            _, self._form = ChatTemplate(self._tokenizer).accept(PROBE, generate=True)
        except LanguageModelError as error:
            raise TeacherError(
                f"{self.name}: {error}; take another LLM, or put another template into its folder (chat_template.jinja)"
            ) from None
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._waiting: list[tuple[Sequence[Message], asyncio.Future[Reply]]] = []
        self._busy = asyncio.Lock()

    def describe(self) -> dict[str, Any]:
        """Return the model, its identity and its parameters."""
        return {"model": self.model, "weights": self.identity, "endpoint": "in process", "params": self.params}

    async def close(self) -> None:
        """Do nothing, because there are no connections."""

    async def send(self, messages: Sequence[Message], sleep: Sleep) -> Reply:
        """Wait until other requests of the same batch have come and the previous batch is done; return the reply."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((messages, future))
        await asyncio.sleep(0.01)
        async with self._busy:
            batch, self._waiting = self._waiting, []
            if batch:
                try:
                    replies = await asyncio.to_thread(self._answer, [conversation for conversation, _ in batch])
                except Exception as error:
                    reason = str(error) if isinstance(error, TeacherError) else repr(error)
                    for _, other in batch:
                        other.set_exception(TeacherError(f"{self.name} failed: {reason}"))
                else:
                    for (_, other), reply in zip(batch, replies, strict=True):
                        other.set_result(reply)
        return await future

    def _answer(self, conversations: list[Sequence[Message]]) -> list[Reply]:
        import torch

        inputs = self._tokenizer.apply_chat_template(
            [self._form(messages) for messages in conversations],
            add_generation_prompt=True,
            tokenize=True,
            padding=True,
            return_tensors="pt",
            return_dict=True,
            enable_thinking=False,
        ).to(self._llm.device)
        length = inputs["input_ids"].shape[1]
        context = getattr(self._llm.config.get_text_config(), "max_position_embeddings", None) or 1 << 30
        if length >= context:
            raise TeacherError(f"a prompt of {length} tokens does not fit into the LLM's context of {context} tokens")
        settings = {
            "do_sample": "temperature" in self.params,
            "pad_token_id": self._tokenizer.pad_token_id,
            **self.params,
        }
        settings["max_new_tokens"] = min(settings["max_new_tokens"], context - length)
        with torch.inference_mode():
            out = self._llm.generate(**inputs, **settings)
        replies = []
        ends = self._llm.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends])
        for mask, row in zip(inputs["attention_mask"], out[:, length:].tolist(), strict=True):
            end = next((i for i, token in enumerate(row) if token in ends), None)
            reasoning, text = split_reasoning(self._tokenizer.decode(row[:end], skip_special_tokens=True))
            finish, count = ("length", len(row)) if end is None else ("stop", end + 1)
            replies.append(Reply(text, finish, int(mask.sum()), count, reasoning=reasoning[:EXCERPT]))
        return replies


def identity_of(model: str) -> str:
    """Return the identity of a local LLM: a hash of its weights and of all files that affect its answers.

    Args:
        model: folder, GGUF file or hub name; the name itself is returned if there is no such LLM.
    """
    from vectalk.llm.fingerprint import fingerprint
    from vectalk.llm.location import locate_llm

    try:
        source = locate_llm(model)
    except LanguageModelError:
        return model
    digest = hashlib.sha256(str(fingerprint(str(source.place))).encode())
    # A GGUF file contains all of these settings.
    patterns = OTHER_FILES if source.gguf is None else ()
    for path in sorted({path for pattern in patterns for path in source.folder.glob(pattern)}):
        digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()
