"""A run exported is the run: anybody's transformers reads the same LLM, and the ids are checked."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from vectalk.errors import RunError
from vectalk.llm.fingerprint import fingerprint
from vectalk.model import ElmAdapter
from vectalk.model.export import export_merged
from vectalk.model.run import Run, write_card
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig
from vectalk.training.trainer import train
from worlds import SHORT, call, make_llm, save_llm

IDS = torch.tensor([[5, 6, 7, 8, 9]])


def made(corpus: Corpus, llm: Path, out: Path, kind: str) -> Run:
    changes = {
        "stage1.steps": 2,
        "stage2.steps": 4,
        "stage2.llm": kind,
        "lora.rank": 4,
        "stage2.lr_llm": 0.01,
    }
    return train(corpus, str(llm), out, TrainConfig.load(None, {**SHORT, **changes}), device="cpu")


def test_an_export_has_the_base_llms_type(corpus: Corpus, chat, tmp_path: Path) -> None:
    make_llm("llama", len(chat)).to(torch.bfloat16).save_pretrained(tmp_path / "llm")
    chat.save_pretrained(tmp_path / "llm")
    run = made(corpus, tmp_path / "llm", tmp_path / "run", "lora")
    assert run.model("cpu")[0].llm.dtype == torch.float32
    export_merged(run, tmp_path / "plain")
    weights = load_file(tmp_path / "plain" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "plain").dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_an_export_is_the_run(corpus: Corpus, chat, tmp_path: Path, kind: str, capsys) -> None:
    llm = save_llm("llama", chat, tmp_path / "llm")
    run = made(corpus, llm, tmp_path / "run", kind)
    code, out, err = call(["export", str(run.path), "--merged", str(tmp_path / "plain"), "--json"], capsys)
    assert (code, err) == (0, "")
    assert json.loads(out)["ids_equal"] is True
    plain, (model, prompts) = AutoModelForCausalLM.from_pretrained(tmp_path / "plain"), run.model("cpu")
    assert type(plain).__name__ == "LlamaForCausalLM"
    with torch.no_grad():
        theirs, ours = plain(IDS).logits, model.llm(IDS).logits
        base = AutoModelForCausalLM.from_pretrained(llm)(IDS).logits
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)
    assert (base - theirs).abs().max() > 1e-3
    theirs = AutoTokenizer.from_pretrained(tmp_path / "plain")
    assert theirs.chat_template.endswith(prompts.template)
    parts = [{"type": "text", "text": text} for text in ("Describe ", "<vector>", ".")]
    said, in_parts = (
        theirs.apply_chat_template([{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True)
        for content in ("Describe <vector>.", parts)
    )
    assert in_parts == said == prompts.frame.before + "Describe <vector>." + prompts.frame.after
    adapter, vectors = ElmAdapter.from_pretrained(tmp_path / "plain" / "adapters" / "island"), torch.randn(3, 16)
    torch.testing.assert_close(adapter(vectors), model.adapter("island")(vectors))


def test_ids_that_a_server_renders_otherwise_are_told(corpus: Corpus, random_llm, tmp_path: Path, capsys) -> None:
    run = made(corpus, random_llm, tmp_path / "run", "full")
    plain = tmp_path / "plain"
    # A template that tells the date would do this: the run keeps what it wrote in training.
    run.card.template = run.card.template.replace("Question: ", "Asked today: ")
    write_card(run.path, run.card)
    code, out, err = call(["export", str(run.path), "--merged", str(plain)], capsys)
    assert code == 0
    report = json.loads((plain / "vectalk-export.json").read_text())
    assert report["ids_equal"] is False
    assert "".join(report["ours"]).startswith("Question: ")
    assert "".join(report["rendered"]).startswith("Asked today: ")
    assert "gives other token ids than training" in err
    assert "other token ids" in out
    code, _, err = call(["export", str(run.path), "--merged", str(plain)], capsys)
    assert code == 2
    assert "exists already" in err


def test_a_base_llm_that_changed_is_refused(corpus: Corpus, tokenizer, tmp_path: Path) -> None:
    llm = save_llm("llama", tokenizer, tmp_path / "llm")
    run = made(corpus, llm, tmp_path / "run", "lora")
    run.model("cpu")
    older = run.card.model_copy(deep=True)
    older.llm.fingerprint = fingerprint(str(llm), "of samples")
    Run(run.path, older).model("cpu")
    weights = bytearray((llm / "model.safetensors").read_bytes())
    weights[-100] ^= 1
    (llm / "model.safetensors").write_bytes(weights)
    with pytest.raises(RunError, match="its weights changed"):
        run.model("cpu")
    save_llm("llama", tokenizer, llm, seed=1)
    with pytest.raises(RunError, match=r"is not the one that run .* was trained on: its weights changed"):
        run.model("cpu")
