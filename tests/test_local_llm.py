"""An LLM of this machine that writes or judges: whatever its chat template takes, and as long as its context is."""

from pathlib import Path

import pytest

from vectalk.errors import TeacherError
from vectalk.llm.local import PROBE, LocalModel, LocalTransport
from vectalk.llm.replies import without_system
from worlds import save_llm

# As Gemma 2 has it: no system, and turns that alternate.
STRICT = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/...') }}{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] | trim }}<|im_end|>\n{% endfor %}"
)
# Leaves out what the system says, without a word.
DEAF = (
    "{% for message in messages %}{% if message['role'] != 'system' %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endif %}{% endfor %}"
)
# Wants lists of parts, as LLMs that see pictures do.
PARTS = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
)
STRICT_PARTS = STRICT.replace("message['content'] | trim", "message['content'][0]['text'] | trim")
ONE_TURN = "{% if messages | length > 1 %}{{ raise_exception('one turn only') }}{% endif %}{{ messages[0]['content'] }}"


def opened(chat, folder: Path, template: str, **settings) -> LocalTransport:
    chat.chat_template = template
    place = save_llm("llama", chat, folder, max_position_embeddings=64)
    return LocalTransport(LocalModel(model=str(place), device="cpu", **settings))


@pytest.fixture
def chat(chat):
    """The shared tokenizer; its template is put back."""
    template = chat.chat_template
    yield chat
    chat.chat_template = template


@pytest.mark.parametrize(
    ("template", "system"),
    [(STRICT, False), (DEAF, False), (PARTS, True), (STRICT_PARTS, False)],
    ids=["strict", "deaf", "parts", "strict-parts"],
)
def test_all_that_is_said_reaches_the_llm(chat, tmp_path: Path, template: str, system: bool) -> None:
    transport = opened(chat, tmp_path / "llm", template)
    arranged = transport._form(PROBE)
    text = transport._tokenizer.apply_chat_template(arranged, tokenize=False)
    assert [text.count(message["content"]) for message in PROBE] == [1, 1, 1, 1]
    assert (arranged[0]["role"] == "system") == system
    (reply,) = transport._answer([PROBE[:2]])
    assert reply.prompt_tokens > 5


def test_a_template_that_takes_no_conversation_is_named(chat, tmp_path: Path) -> None:
    with pytest.raises(
        TeacherError,
        match=r"hf:llm: the chat template of LLM '.*llm' does not accept .*assistant, user\): one turn only",
    ):
        opened(chat, tmp_path / "llm", ONE_TURN)


def test_a_prompt_is_never_longer_than_the_context(chat, tmp_path: Path) -> None:
    transport = opened(chat, tmp_path / "llm", STRICT, max_reply_tokens=400, params={"min_new_tokens": 1})
    short = without_system([{"role": "user", "content": "Hi"}])
    (reply,) = transport._answer([short])
    assert reply.prompt_tokens + reply.reply_tokens <= 64
    with pytest.raises(TeacherError, match=r"a prompt of \d+ tokens does not fit into the LLM's context of 64 tokens"):
        transport._answer([[{"role": "user", "content": "Tell me more. " * 40}]])
