"""Chat templates that refuse some conversations: another form is tried, and another template can be given."""

import copy
import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from vectalk.errors import LanguageModelError, TrainingError
from vectalk.files import read_json
from vectalk.llm.chat_template import ChatTemplate, ChatTemplateError, read_template
from vectalk.model import PromptFormat
from vectalk.model.export import export_merged
from vectalk.model.prompt import PLAIN_TEMPLATE, open_format
from vectalk.model.run import Run
from vectalk.talk.elm import ELM
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig
from vectalk.training.reporter import Silent
from vectalk.training.trainer import train
from worlds import SHORT, call, save_llm

TURN = "<|im_start|>{{ message['role'] }}\n{{ message['content'] | trim }}<|im_end|>\n"
# As Gemma has it: no system role.
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}" + TURN + "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
)
# As Mistral has it: roles alternate, and the user is first.
ALTERNATING = (
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}[INST] {{ message['content'] }} [/INST]"
    "{% else %}{{ message['content'] }}<|im_end|>{% endif %}{% endfor %}"
)
LAST_USER = (
    "{% if messages[-1]['role'] != 'user' %}{{ raise_exception('The last role must be user') }}{% endif %}"
    "{% for message in messages %}" + TURN + "{% endfor %}{{ '<|im_start|>assistant\n' }}"
)
# As LLMs that read images have it: content is a list of parts. Text in their place is dropped without an error.
PARTS = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ALWAYS = "{{ raise_exception('this template is for tool calls only') }}"
SYSTEM, USER = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}


def with_template(chat: PreTrainedTokenizerFast, template: str) -> PreTrainedTokenizerFast:
    tokenizer = copy.deepcopy(chat)
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture
def refusing_llm(chat, tmp_path: Path) -> Path:
    """An LLM whose template always raises an error."""
    return save_llm("llama", with_template(chat, ALWAYS), tmp_path / "llm")


# ---- forms


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (NO_SYSTEM, "<|im_start|>user\nBe brief.\n\nWhy?<|im_end|>\n<|im_start|>model\n"),
        (ALTERNATING, "[INST] Be brief.\n\nWhy? [/INST]"),
        (
            LAST_USER,
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n",
        ),
        (PARTS, "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"),
    ],
    ids=["no-system", "alternating", "last-user", "parts"],
)
def test_the_first_form_that_a_template_accepts_is_used(chat, template: str, text: str) -> None:
    assert ChatTemplate(chat, template).accept([SYSTEM, USER], generate=True)[0] == text


def test_a_template_that_accepts_nothing_is_named_with_its_message(chat) -> None:
    with pytest.raises(
        ChatTemplateError, match=r"mine does not accept a conversation \(system, user\): this template is"
    ):
        ChatTemplate(chat, ALWAYS, "mine").accept([SYSTEM, USER])


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        (NO_SYSTEM, "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>model\n"),
        (ALTERNATING, "[INST] Why? [/INST]"),
        (LAST_USER, "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"),
        (PARTS, "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"),
    ],
    ids=["no-system", "alternating", "last-user", "parts"],
)
def test_prompts_are_made_with_each_kind_of_template(chat, template: str, prompt: str) -> None:
    prompts = PromptFormat(with_template(chat, template), {})
    assert chat.decode(list(prompts("Why?", {}).ids)) == prompt
    assert chat.decode(list(prompts("Why?", {}, "Salt.").ids)) == prompt + "Salt.<|im_end|>"


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        (ALWAYS, "this template is for tool calls only"),
        ("{% for m in messages %}", "Unexpected end of template"),
        ("{{ messages[0]['content'].nothing.at_all }}", "no attribute 'nothing'"),
        ("{{ 1 / 0 }}", "division by zero"),
    ],
)
def test_a_template_that_fails_says_how_to_replace_it(chat, template: str, problem: str) -> None:
    with pytest.raises(LanguageModelError) as error:
        PromptFormat(with_template(chat, template), {})
    assert problem in str(error.value)
    assert "(--chat-template FILE)" in str(error.value)
    assert "(--chat-template none)" in str(error.value)


# ---- another template


def test_a_given_template_replaces_the_llms(refusing_llm: Path, chat, tmp_path: Path) -> None:
    with pytest.raises(
        LanguageModelError, match=r"the chat template of LLM '.*llm' does not accept .*for tool calls only"
    ):
        open_format(str(refusing_llm), {})
    plain = open_format(str(refusing_llm), {}, "none")
    assert plain.template == PLAIN_TEMPLATE
    assert chat.decode(list(plain("Why?", {}).ids)) == "Question: Why?\nAnswer:\n"
    (tmp_path / "mine.jinja").write_text(ALTERNATING)
    mine = open_format(str(refusing_llm), {}, tmp_path / "mine.jinja")
    assert chat.decode(list(mine("Why?", {}).ids)) == "[INST] Why? [/INST]"
    (tmp_path / "mine.jinja").write_text(ALWAYS)
    with pytest.raises(LanguageModelError, match=r"the chat template .*mine\.jinja does not accept"):
        open_format(str(refusing_llm), {}, tmp_path / "mine.jinja")


def test_a_file_that_is_no_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LanguageModelError, match=r"chat template .*x\.jinja cannot be read: No such file.*or none"):
        read_template(tmp_path / "x.jinja")
    (tmp_path / "x.jinja").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LanguageModelError, match="it is not UTF-8 text"):
        read_template(tmp_path / "x.jinja")
    (tmp_path / "x.jinja").write_text(" \n")
    with pytest.raises(LanguageModelError, match="is empty"):
        read_template(tmp_path / "x.jinja")


def test_the_command_line_names_template_and_option(
    corpus: Corpus, refusing_llm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", str(corpus.path), "--llm", str(refusing_llm), "--out", str(tmp_path / "run"), "-q"]
    code, _, err = call(arguments, capsys)
    assert code == 2
    assert "does not accept a conversation (user): this template is for tool calls only" in " ".join(err.split())
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()
    code, _, err = call([*arguments, "--chat-template", str(tmp_path / "nowhere.jinja")], capsys)
    assert (code, "nowhere.jinja cannot be read" in err) == (2, True)
    corpus_options = ["--llm", str(refusing_llm), "--chat-template", "none"]
    code, out, _ = call(["corpus", "show", str(corpus.path), "-n", "1", *corpus_options], capsys)
    assert (code, "Question: " in out) == (0, True)
    code, out, _ = call(["corpus", "check", str(corpus.path), *corpus_options, "--json"], capsys)
    assert json.loads(out)["lengths"]["context"] == 256


class StoppedError(Exception):
    """Stops a run."""


class StopAtSix(Silent):
    """A reporter that stops a run after six steps."""

    def step(self, stage: int, done: int, steps: int, note: str) -> None:
        if done == 6:
            raise StoppedError


def test_a_run_keeps_its_template(corpus: Corpus, refusing_llm: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "mine.jinja", tmp_path / "run"
    file.write_text(ALTERNATING)
    config = TrainConfig.load(None, {**SHORT, "stage2.steps": 0})
    options = {"config": config, "device": "cpu"}
    with pytest.raises(StoppedError):
        train(corpus, str(refusing_llm), out, chat_template=file, reporter=StopAtSix(), **options)
    file.write_text(PARTS)
    with pytest.raises(TrainingError, match="was started with another chat template"):
        train(corpus, str(refusing_llm), out, chat_template=file, resume=True, **options)
    run = train(corpus, str(refusing_llm), out, resume=True, **options)  # the run knows its template
    assert run.card.template == ALTERNATING
    assert run.card.frame.before == "[INST] "
    elm = ELM.from_pretrained(out, device="cpu")
    assert elm.prompts.frame.after == " [/INST]"
    island = str(corpus.spaces["island"].column("id")[0])
    assert elm.ask("Describe {island}.", {"island": island}, max_new_tokens=4).text is not None
    again = train(corpus, str(refusing_llm), tmp_path / "again", start=run, **options)
    assert again.card.template_hash == run.card.template_hash


def test_an_export_renders_parts_for_a_template_that_needs_them(corpus: Corpus, chat, tmp_path: Path) -> None:
    llm = save_llm("llama", with_template(chat, PARTS), tmp_path / "llm")
    config = TrainConfig.load(None, {**SHORT, "stage1.steps": 1, "stage2.steps": 0})
    run = train(corpus, str(llm), tmp_path / "run", config, device="cpu")
    assert export_merged(Run.load(run.path), tmp_path / "export")["ids_equal"]
    theirs = AutoTokenizer.from_pretrained(tmp_path / "export")
    parts = [{"type": "text", "text": "Why"}, {"type": "text", "text": "?"}]
    texts = [
        theirs.apply_chat_template([{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True)
        for content in ("Why?", parts)
    ]
    assert texts == ["<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"] * 2
    assert read_json(run.path / "elm.json")["template"] == PARTS
