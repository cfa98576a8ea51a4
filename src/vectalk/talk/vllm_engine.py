"""Engines on vLLM: the adapters run in this process, and vLLM receives soft tokens as embeddings.

`vectalk export RUN --merged DIR` writes the folder that both engines load. The engine in this process sends words as
token ids. Over HTTP the server may tokenise the words around a slot differently; therefore a question is sent as
embeddings, with the words looked up here in the LLM's table. Where the export says that its chat template renders the
same ids, a question may also be sent as text with soft tokens in between.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from vectalk.decoding.settings import Decoding, Generated
from vectalk.errors import EngineError, PromptError
from vectalk.llm.quiet import hushed
from vectalk.llm.tokenizer import load_tokenizer
from vectalk.model import PromptFormat, check_adapter
from vectalk.model.adapter import open_adapter
from vectalk.model.export import MARKER, ExportCard
from vectalk.model.prompt import Frame
from vectalk.talk.engine import Progress, Slots, spaces_of
from vectalk.talk.vllm_server import VllmServer
from vectalk.tasks.suite import pieces_of

TOGETHER = 64  # concurrent requests


class Exported:
    """The tokenizer, frame and adapters of an export; the LLM's weights are not loaded.

    Args:
        folder: folder that was written by `vectalk export RUN --merged FOLDER`.

    Attributes:
        report: the card of the export.
        prompts: turns questions into prompts.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / MARKER).is_file():
            raise EngineError(
                f"{folder} is not an export (it has no {MARKER}); make one with `vectalk export --merged`"
            )
        self.report = ExportCard.read(self.folder)
        self.prompts = PromptFormat(
            load_tokenizer(str(self.folder)),
            self.report.soft_tokens,
            self.report.template,
            Frame(**self.report.frame.model_dump()),
        )
        with hushed():
            saved = {
                owner: open_adapter(self.folder / "adapters" / owner) for owner in set(self.report.adapters.values())
            }
        self.adapters = {name: saved[owner] for name, owner in self.report.adapters.items()}

    @cached_property
    def table(self) -> Tensor | None:
        """The LLM's token embeddings [V, H], loaded alone; None where the first layer does more than look them up."""
        config = AutoConfig.from_pretrained(self.folder, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        words = model.get_input_embeddings()
        if type(words) is not torch.nn.Embedding:
            return None
        name = next(name for name, weight in model.named_parameters() if weight is words.weight)
        for file in sorted(self.folder.glob("*.safetensors")):
            with safe_open(file, framework="pt") as tensors:
                if name in tensors.keys():  # noqa: SIM118 (it is no dictionary)
                    return cast(Tensor, tensors.get_tensor(name))
        return None

    def without_end(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Return the tokens of an answer without its end token."""
        return tuple(token for token in ids if token not in self.prompts.stop_ids)

    def whole(self, question: str, slots: Slots) -> Tensor:
        """Return a question as embeddings [T, H], without the template around it."""
        assert self.table is not None
        soft = {slot: self.soft(slot, slots) for slot in slots}
        prompt = self.prompts(question, spaces_of(slots))
        embeds = self.table[torch.tensor(prompt.ids)].clone()
        for slot in prompt.slots:
            embeds[slot.start : slot.start + slot.length] = soft[slot.name].to(embeds.dtype)
        return embeds[len(self.prompts.before) : len(prompt) - len(self.prompts.after)]

    @torch.inference_mode()
    def soft(self, slot: str, slots: Slots) -> Tensor:
        """Return the soft tokens [S, H] of the vector in a slot."""
        if slot not in slots:
            raise PromptError(f"slot {{{slot}}} has no vector; the slots with a vector are {sorted(slots) or 'none'}")
        space, vector = slots[slot]
        check_adapter(space, self.adapters, slot)
        adapter, values = self.adapters[space], torch.from_numpy(np.array(vector, np.float32))
        if values.shape != (adapter.config.vector_dim,) or not values.isfinite().all():
            raise PromptError(
                f"slot {{{slot}}}: space {space!r} takes {adapter.config.vector_dim} finite numbers, "
                f"the vector has shape {tuple(values.shape)}"
            )
        soft_tokens: Tensor = adapter(values[None], space)[0]
        return soft_tokens


class VllmEngine:
    """vLLM in this process (`pip install vectalk[vllm]`).

    Args:
        folder: folder of an export.
        options: options of `vllm.LLM`, such as `dtype`, `gpu_memory_utilization`, `enforce_eager`.
    """

    def __init__(self, folder: str | Path, **options: Any) -> None:
        try:
            import vllm
        except ImportError:
            raise EngineError("the vLLM engine needs vLLM: pip install 'vectalk[vllm]'") from None
        self.exported = Exported(folder)
        self.recommended = self.exported.report.recommended
        self._params = vllm.SamplingParams
        safe = {"load_format": "safetensors", "trust_remote_code": False, **options}
        self._llm = vllm.LLM(model=str(folder), enable_prompt_embeds=True, **safe)

    def generate(
        self,
        questions: Sequence[str],
        slots: Sequence[Slots],
        decoding: Decoding,
        progress: Progress = lambda done, total: None,
    ) -> list[Generated]:
        """Answer questions; vLLM makes the batches."""
        check_decoding(decoding)
        prompts = [self._prompt(q, s) for q, s in zip(questions, slots, strict=True)]
        settings = [
            self._params(**sampling(decoding, n), stop_token_ids=self.exported.prompts.stop_ids)
            for n in range(len(prompts))
        ]
        results = self._llm.generate(prompts, settings, use_tqdm=False)
        progress(len(results), len(results))
        outputs = [one.outputs[0] for one in results]
        return [
            Generated(str(out.text).strip(), out.finish_reason == "stop", self.exported.without_end(out.token_ids))
            for out in outputs
        ]

    def stream(self, question: str, slots: Slots, decoding: Decoding) -> Generator[str, None, Generated]:
        """Answer one question; vLLM in this process yields the text in one piece."""
        (answer,) = self.generate([question], [slots], decoding)
        yield answer.text
        return answer

    def _prompt(self, question: str, slots: Slots) -> dict[str, Any]:
        """Return token ids, embeddings, and a mask that says which of the two vLLM uses at each position."""
        soft = {slot: self.exported.soft(slot, slots) for slot in slots}
        prompt = self.exported.prompts(question, spaces_of(slots))
        width = next(iter(soft.values())).shape[-1] if soft else 0
        if not soft:
            return {"prompt_token_ids": list(prompt.ids)}
        embeds, words = torch.zeros(len(prompt), width), [True] * len(prompt)
        for slot in prompt.slots:
            embeds[slot.start : slot.start + slot.length] = soft[slot.name]
            words[slot.start : slot.start + slot.length] = [False] * slot.length
        return {"prompt_embeds": embeds, "prompt_token_ids": list(prompt.ids), "prompt_is_token_ids": words}


class VllmHttpEngine:
    """A vLLM server: `vllm serve DIR --enable-prompt-embeds --chat-template-content-format openai`.

    The server unpickles its input: run it on the loopback interface, where only this process can reach it.

    Args:
        folder: folder of the export that the server serves.
        url: address of the server, without `/v1`.
        model: name of the model on the server; the server's first model when omitted.
        together: number of concurrent requests.
        as_text: send words as text; requests are shorter, but the server tokenises the words.
    """

    def __init__(
        self,
        folder: str | Path,
        url: str = "http://127.0.0.1:8000",
        model: str | None = None,
        together: int = TOGETHER,
        as_text: bool = False,
    ) -> None:
        self.exported, self.server, self.together = Exported(folder), VllmServer(url), together
        self.recommended = self.exported.report.recommended
        self.as_text = as_text
        if as_text and not self.exported.report.ids_equal:
            raise EngineError(
                f"the chat template in {folder} renders other ids than the model was trained on (question "
                f"{self.exported.report.question!r}); omit as_text"
            )
        if not as_text and self.exported.table is None:
            raise EngineError(
                f"the LLM in {folder} does more than look its words up, so words cannot be sent as embeddings; pass "
                "as_text=True, or use VllmEngine, which sends ids"
            )
        self.model = model or self.server.first_model()

    def generate(
        self,
        questions: Sequence[str],
        slots: Sequence[Slots],
        decoding: Decoding,
        progress: Progress = lambda done, total: None,
    ) -> list[Generated]:
        """Answer questions with concurrent requests."""
        check_decoding(decoding)
        bodies = [self._body(q, s, decoding, n) for n, (q, s) in enumerate(zip(questions, slots, strict=True))]
        answers: list[Generated] = []
        with ThreadPoolExecutor(self.together) as pool:
            for answer in pool.map(self._answer, bodies):
                answers.append(answer)
                progress(len(answers), len(bodies))
        return answers

    def stream(self, question: str, slots: Slots, decoding: Decoding) -> Generator[str, None, Generated]:
        """Answer one question: yield the pieces of its text, then return the complete answer."""
        check_decoding(decoding)
        text, finished, ids = "", False, list[int]()
        for choice in self.server.choices(self._body(question, slots, decoding, 0)):
            piece = (choice.get("delta") or {}).get("content") or ""
            finished = choice.get("finish_reason") == "stop" or finished
            text += piece
            ids += choice.get("token_ids") or []
            if piece:
                yield piece
        return self._generated(text, finished, ids)

    def check(self) -> None:
        """Raise an EngineError unless the server is ready to answer."""
        self.server.check()

    # ---- requests

    def _body(self, question: str, slots: Slots, decoding: Decoding, number: int) -> dict[str, Any]:
        if self.as_text:
            parts = [
                {"type": "prompt_embeds", "data": packed(self.exported.soft(text, slots))}
                if is_slot
                else {"type": "text", "text": text}
                for text, is_slot in pieces_of(question)
            ]
        else:
            parts = [{"type": "prompt_embeds", "data": packed(self.exported.whole(question, slots))}]
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": parts}],
            "chat_template_kwargs": {"enable_thinking": False},
            "stop_token_ids": self.exported.prompts.stop_ids,
            "add_special_tokens": False,
            "return_token_ids": True,
            **sampling(decoding, number),
        }

    def _answer(self, body: dict[str, Any]) -> Generated:
        choice = self.server.choice(body)
        finished = choice["finish_reason"] == "stop"
        return self._generated(choice["message"]["content"] or "", finished, choice.get("token_ids"))

    def _generated(self, text: str, finished: bool, ids: Sequence[int] | None) -> Generated:
        return Generated(text.strip(), finished, self.exported.without_end(ids or ()))


def check_decoding(decoding: Decoding) -> None:
    """Raise a PromptError for settings that vLLM does not support."""
    if decoding.beams > 1:
        raise PromptError(f"beams is {decoding.beams}, but the vLLM engines have no beam search; use beams=1")
    if decoding.repetition_penalty not in (None, 1.0):
        raise PromptError(
            f"repetition_penalty is {decoding.repetition_penalty}, but vLLM would count the tokens of the prompt too, "
            "not only those of the answer; give repetition_penalty=1 (which replaces a default of the run), or ask "
            "without a vLLM engine"
        )
    if decoding.no_repeat_ngram_size:
        raise PromptError(
            f"no_repeat_ngram_size is {decoding.no_repeat_ngram_size}, but vLLM has no such setting; give "
            "no_repeat_ngram_size=0 (which replaces a default of the run), or ask without a vLLM engine"
        )
    if decoding.min_p and decoding.top_p < 1 and not decoding.greedy:
        raise PromptError(
            f"min_p is {decoding.min_p} and top_p is {decoding.top_p}, but vLLM applies them in another order, which "
            "gives other answers; give only one of them to a vLLM engine"
        )


def sampling(decoding: Decoding, number: int) -> dict[str, Any]:
    """Return the settings of vLLM for answer `number`; each answer has a seed of its own."""
    settings: dict[str, Any] = {"max_tokens": decoding.max_new_tokens, "temperature": decoding.temperature}
    if not decoding.greedy:
        settings |= {"top_p": decoding.top_p, "seed": decoding.seed * 1_000_003 + number}
        settings |= {"top_k": decoding.top_k or -1, "min_p": decoding.min_p}  # -1 is all tokens in every version
    if decoding.stop:
        settings["stop"] = list(decoding.stop)
    return settings


def packed(tensor: Tensor) -> str:
    """Return a tensor in the format of the server: base64 of `torch.save`."""
    buffer = io.BytesIO()
    torch.save(tensor.detach().clone().cpu(), buffer)
    return base64.b64encode(buffer.getvalue()).decode()
