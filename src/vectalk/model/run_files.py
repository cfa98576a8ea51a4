"""The files that a run has, as patterns: what is pushed to the hub, and what is fetched from there."""

from vectalk.space.checks import SPACE_FILES

LLM_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
# What a run says of itself.
CARDS = ("elm.json", "README.md", "tasks.yaml", "config.yaml", "training.jsonl", "names.json")
# What was trained: adapters, and a low-rank update or the whole LLM.
TRAINED = (
    "adapters/*/config.json",
    "adapters/*/*.safetensors",
    "lora/adapter_config.json",
    "lora/adapter_model.safetensors",
    *(f"llm/{pattern}" for pattern in LLM_FILES),
)
# A ridge from embeddings of a text encoder that others have too; an encoder that was fitted to texts holds their words.
READBACK = ("readback.json", "readback.safetensors")
RUN_FILES = (
    *CARDS,
    *TRAINED,
    *(f"readback/*/{name}" for name in READBACK),
    *(f"spaces/*/{pattern}" for pattern in SPACE_FILES),
)
