"""The setting `system_prompt`: the same text is before every question, in training and wherever the run is used."""

from pathlib import Path

import pytest

from test_chat_templates import ALTERNATING, NO_SYSTEM, PARTS, with_template
from vectalk.errors import LanguageModelError, TrainingError
from vectalk.llm.tokenizer import load_tokenizer
from vectalk.model import PromptFormat
from vectalk.model.export import export_merged
from vectalk.model.run import Run
from vectalk.talk.elm import ELM
from vectalk.talk.vllm_engine import Exported
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig
from vectalk.training.setup import Setup
from vectalk.training.trainer import train
from worlds import SHORT, save_llm

SYSTEM = "You know islands.\nSay 'salt' or \"amber\" \U0001f600 {% only %}."


def trained(corpus: Corpus, llm: Path, out: Path, **settings: object) -> Run:
    """Train for two steps with a system prompt."""
    short = {**SHORT, "stage1.steps": 2, "stage2.steps": 0, "stage2.llm": "frozen", "system_prompt": SYSTEM}
    return train(corpus, str(llm), out, TrainConfig.load(None, {**short, **settings}), device="cpu")


@pytest.mark.parametrize("template", [None, NO_SYSTEM, ALTERNATING, PARTS], ids=["own", "fold", "inst", "parts"])
def test_a_run_keeps_its_system_prompt_and_so_does_its_export(chat, corpus, tmp_path: Path, template) -> None:
    tokenizer = chat if template is None else with_template(chat, template)
    llm = save_llm("llama", tokenizer, tmp_path / "llm")
    run = trained(corpus, llm, tmp_path / "run")
    elm = ELM.from_pretrained(run.path, device="cpu")
    assert elm.prompts.system == SYSTEM
    assert elm.prompts.frame.before.count(SYSTEM) == 1
    question = elm.prompts("Describe {island}.", {"island": "island"})
    shown = elm.prompts.show(question)
    assert shown.index(SYSTEM) < shown.index("Describe ")
    fresh = PromptFormat(load_tokenizer(str(llm)), {"island": 2}, system=SYSTEM)
    assert fresh("Describe {island}.", {"island": "island"}).ids == question.ids
    # A server that renders the template itself gets the same ids, although it is sent the question alone.
    export_merged(run, tmp_path / "plain")
    ours, theirs = Exported(tmp_path / "plain").prompts, load_tokenizer(str(tmp_path / "plain"))
    assert ours("Describe {island}.", {"island": "island"}).ids == question.ids
    messages = [{"role": "user", "content": [{"type": "text", "text": "Wh"}, {"type": "text", "text": "y?"}]}]
    rendered = theirs.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert rendered == elm.prompts.frame.before + "Why?" + elm.prompts.frame.after


def test_without_a_system_prompt_the_template_decides(chat) -> None:
    plain, spoken = PromptFormat(chat, {}), PromptFormat(chat, {}, system="Be kind.")
    assert plain.system is None
    assert "Be kind." not in plain.frame.before
    assert spoken.frame.before.replace("<|im_start|>system\nBe kind.<|im_end|>\n", "") == plain.frame.before


def test_a_template_without_a_system_role_gets_the_text_before_the_question_and_says_so(
    chat, corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    llm = save_llm("llama", with_template(chat, NO_SYSTEM), tmp_path / "llm")
    config = TrainConfig.load(None, {**SHORT, "system_prompt": "Be kind."})
    with caplog.at_level("INFO", logger="vectalk"):
        setup = Setup.make(corpus, str(llm), tmp_path / "run", config, device="cpu", claim=False)
    assert setup.prompts.frame.before == "<|im_start|>user\nBe kind.\n\n"
    assert "the chat template has no system role; the system prompt is put before each question" in caplog.text


def test_the_plain_format_has_no_place_for_a_system_prompt(corpus, random_llm: Path, tmp_path: Path) -> None:
    with pytest.raises(LanguageModelError, match="the plain question-and-answer format has no place for it"):
        trained(corpus, random_llm, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_training_from_a_run_keeps_its_system_prompt_unless_it_is_turned_off(chat, corpus, tmp_path: Path) -> None:
    run = trained(corpus, save_llm("llama", chat, tmp_path / "llm"), tmp_path / "run")
    prompts = {}
    for name, settings in {"kept": {}, "none": {"system_prompt": "none"}, "new": {"system_prompt": "Hm."}}.items():
        config = TrainConfig.load(None, {**SHORT, **settings})
        setup = Setup.make(corpus, str(tmp_path / "llm"), tmp_path / name, config, start=run, device="cpu", claim=False)
        prompts[name] = setup.prompts.system
    assert prompts == {"kept": SYSTEM, "none": None, "new": "Hm."}


def test_a_run_is_resumed_with_its_own_system_prompt(chat, corpus, tmp_path: Path) -> None:
    llm = save_llm("llama", chat, tmp_path / "llm")
    config = TrainConfig.load(None, {**SHORT, "system_prompt": "Be kind."})
    Setup.make(corpus, str(llm), tmp_path / "run", config, device="cpu")
    other = config.model_copy(update={"system_prompt": "Be brief."})
    with pytest.raises(TrainingError, match=r"system_prompt was 'Be kind.', is 'Be brief.'"):
        Setup.make(corpus, str(llm), tmp_path / "run", other, device="cpu", resume=True)
    again = Setup.make(corpus, str(llm), tmp_path / "run", config, device="cpu", resume=True)
    assert again.prompts.system == "Be kind."
