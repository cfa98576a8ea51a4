"""A run that is saved is the same in a fresh process, whatever was trained of its LLM."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import forked
from elm_models import DIMS, QUESTIONS, SOFT, batch_of, card_for, make_model, vectors_for
from vectalk.errors import RunError
from vectalk.files import write_text
from vectalk.llm.loading import load_llm
from vectalk.model import PromptFormat
from vectalk.model.run import Run, save_model, write_card
from vectalk.training.config import LoraConfig, StageConfig
from vectalk.training.stage import prepare
from worlds import save_llm

FRESH = """
import json, pathlib, sys
import torch
from vectalk.model.run import Run
from vectalk.model import collate
elm, prompts = Run.load(sys.argv[1]).model("cpu")
given = json.loads(pathlib.Path(sys.argv[2]).read_text())
made = [prompts(q, spaces, target) for q, spaces, target in given["questions"]]
batch = collate(made, given["vectors"], given["dims"], prompts.pad_id)
with torch.no_grad():
    torch.save({"logits": elm.logits(batch), "loss": elm(batch)[0]}, sys.argv[3])
"""


@torch.no_grad()
@pytest.mark.parametrize("trained", ["frozen", "full", "lora"])
def test_a_saved_run_is_the_same_in_another_process(trained: str, tokenizer, tmp_path: Path) -> None:
    base = save_llm("llama", tokenizer, tmp_path / "base")
    model = make_model(load_llm(str(base), device="cpu"))
    untrained = model.logits(batch_of(model))
    peft_model = prepare(model, StageConfig(steps=1, llm=trained), LoraConfig(rank=4))
    # What training would do: every trained weight moves.
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.eval()
    batch = batch_of(model)
    logits, loss = model.logits(batch), model(batch)[0]
    assert (logits - untrained).abs().max() > 0.05
    run = tmp_path / "run"
    save_model(run, model, trained, peft_model)
    write_text(run / "config.yaml", "dtype: auto\n")
    prompts = PromptFormat(model.language.tokenizer, SOFT)
    write_card(run, card_for(model, prompts, base, trained))
    assert {path.name for path in run.iterdir()} == {
        *{"adapters", "config.yaml", "elm.json"},
        *{"frozen": [], "full": ["llm"], "lora": ["lora"]}[trained],
    }
    vectors = [{slot: vector.tolist() for slot, vector in given.items()} for given in vectors_for(QUESTIONS)]
    asked, out = tmp_path / "asked.json", tmp_path / "out.pt"
    asked.write_text(json.dumps({"questions": QUESTIONS, "vectors": vectors, "dims": DIMS}))
    forked.run(str(run), str(asked), str(out), code=FRESH).check_returncode()
    found = torch.load(out, weights_only=True)
    torch.testing.assert_close(found["logits"], logits, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(found["loss"], loss, atol=1e-4, rtol=1e-6)


def test_a_run_on_a_llm_of_another_width_is_refused(run: Run, tokenizer, tmp_path: Path) -> None:
    model, prompts = run.model("cpu")
    base = save_llm("llama", tokenizer, tmp_path / "base")
    save_model(tmp_path / "run", model, "frozen")
    write_text(tmp_path / "run" / "config.yaml", "dtype: auto\n")
    write_card(tmp_path / "run", card_for(model, prompts, base, "frozen"))
    with pytest.raises(RunError, match=r"LLM of width 64, .* has width 32"):
        Run.load(tmp_path / "run").model("cpu")


def test_a_run_that_moved_says_so(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "deep" / "down" / "run")
    moved = Run.load(tmp_path / "deep" / "down" / "run")
    with pytest.raises(RunError, match=r"looks for its space 'island' at .* one of the two was moved; .*--space"):
        moved.spaces()
    assert moved.spaces({"island": run.path / run.card.spaces["island"].path})
