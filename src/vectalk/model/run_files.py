"""Patterns of the files of a run: what is uploaded to the hub and downloaded from it."""

from vectalk.space.checks import SPACE_FILES

LLM_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
# Cards, settings and log of a run.
CARDS = ("elm.json", "README.md", "tasks.yaml", "config.yaml", "training.jsonl", "decoding.json", "names.json")
# Trained weights: adapters, and a low-rank update or a fully fine-tuned LLM.
TRAINED = (
    "adapters/*/config.json",
    "adapters/*/*.safetensors",
    "lora/adapter_config.json",
    "lora/adapter_model.safetensors",
    *(f"llm/{pattern}" for pattern in LLM_FILES),
)
# A ridge regression from embeddings of a public text encoder. An encoder that was fitted to texts contains their words
# and is left out.
READBACK = ("readback.json", "readback.safetensors")
RUN_FILES = (
    *CARDS,
    *TRAINED,
    *(f"readback/*/{name}" for name in READBACK),
    *(f"spaces/*/{pattern}" for pattern in SPACE_FILES),
)
