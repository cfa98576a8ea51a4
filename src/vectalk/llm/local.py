"""A model of this machine in place of an endpoint: what is asked within a moment is answered as one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vectalk.errors import LanguageModelError, TeacherError
from vectalk.llm.endpoint import Sleep
from vectalk.llm.replies import Message, Reply


class LocalModel(BaseModel):
    """A causal LLM of Hugging Face with a chat template, run in this process.

    Attributes:
        model: folder, else `owner/name` on the hub.
        device: `cpu`, `cuda`, ...; the best there is when omitted.
        max_reply_tokens: longest reply.
        batch_size: prompts that are answered together.
        params: settings of generation, e.g. `{temperature: 0.7, top_p: 0.9}`; greedy when omitted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1)
    device: str | None = None
    max_reply_tokens: int = Field(400, ge=1)
    batch_size: int = Field(8, ge=1)
    params: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def read(cls, **settings: Any) -> LocalModel:
        """Check settings, in which `params.NAME` is one of `params`."""
        values: dict[str, Any] = {}
        for name, value in settings.items():
            head, _, rest = name.partition(".")
            if rest and head == "params":
                values.setdefault("params", {})[rest] = value
            else:
                values[name] = value
        if "model" not in values:
            raise TeacherError("say which model: --teacher hf:FOLDER, or the name of a hub model")
        try:
            return cls(**values)
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors()]
            raise TeacherError(
                f"the model: {'; '.join(problems)} (settings are {', '.join(cls.model_fields)})"
            ) from None

    def transport(self) -> LocalTransport:
        """Load the model."""
        return LocalTransport(self)


class LocalTransport:
    """Answers in batches with one loaded model.

    Raises:
        TeacherError: the model cannot be loaded, or its tokenizer has no chat template.
    """

    def __init__(self, settings: LocalModel) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from vectalk.llm.loading import locate_llm

        self.settings, self.model = settings, settings.model
        self.params = {"max_new_tokens": settings.max_reply_tokens, **settings.params}
        self.reply_limit, self.concurrency = settings.max_reply_tokens, settings.batch_size
        device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            folder = str(locate_llm(self.model).folder)
        except LanguageModelError as error:
            raise TeacherError(f"teacher {self.model!r} cannot be loaded: {error}") from None
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left", trust_remote_code=False)
            llm: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype="auto", use_safetensors=True, trust_remote_code=False
            )
            self._llm = llm.to(device).eval()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise TeacherError(f"teacher {self.model!r} cannot be loaded: {first}") from None
        if not self._tokenizer.chat_template:
            raise TeacherError(
                f"teacher {self.model!r} has no chat template: a model that takes instructions is needed"
            )
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._waiting: list[tuple[Sequence[Message], asyncio.Future[Reply]]] = []
        self._busy = asyncio.Lock()

    def describe(self) -> dict[str, Any]:
        """Return model and parameters."""
        return {"model": self.model, "endpoint": "in process", "params": self.params}

    async def close(self) -> None:
        """Nothing is open."""

    async def send(self, messages: Sequence[Message], sleep: Sleep) -> Reply:
        """Wait for a batch to fill, or for the one before it, and return the reply."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((messages, future))
        await asyncio.sleep(0.01)
        async with self._busy:
            batch, self._waiting = self._waiting, []
            if batch:
                try:
                    replies = await asyncio.to_thread(self._answer, [asked for asked, _ in batch])
                except Exception as error:
                    for _, other in batch:
                        other.set_exception(TeacherError(f"teacher {self.model!r} failed: {error!r}"))
                else:
                    for (_, other), reply in zip(batch, replies, strict=True):
                        other.set_result(reply)
        return await future

    def _answer(self, conversations: list[Sequence[Message]]) -> list[Reply]:
        import torch

        inputs = self._tokenizer.apply_chat_template(
            [list(messages) for messages in conversations],
            add_generation_prompt=True,
            tokenize=True,
            padding=True,
            return_tensors="pt",
            return_dict=True,
            enable_thinking=False,
        ).to(self._llm.device)
        settings = {
            "do_sample": "temperature" in self.params,
            "pad_token_id": self._tokenizer.pad_token_id,
            **self.params,
        }
        with torch.inference_mode():
            out = self._llm.generate(**inputs, **settings)
        replies, asked = [], inputs["input_ids"].shape[1]
        ends = self._llm.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends])
        for mask, row in zip(inputs["attention_mask"], out[:, asked:].tolist(), strict=True):
            length = next((i for i, token in enumerate(row) if token in ends), None)
            text = self._tokenizer.decode(row[:length], skip_special_tokens=True)
            finish = "length" if length is None else "stop"
            replies.append(Reply(text, finish, int(mask.sum()), len(row) if length is None else length + 1))
        return replies
