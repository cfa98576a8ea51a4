"""Runs on the Hugging Face hub: a self-contained copy with a model card goes up, and comes down as a folder."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vectalk.errors import RunError
from vectalk.files import read_json, write_json, write_text
from vectalk.model.run import Run

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
PARTS = ("adapters", "lora", "llm", "readback")
FILES = ("tasks.yaml", "config.yaml", "training.jsonl")
SPACE_FILES = (
    "space.json",
    "vectors.npy",
    "vectors.safetensors",
    "entities.parquet",
    "support.safetensors",
    "concepts",
)
# What a card tells of an evaluation, beside which conditions.
METRICS = {
    "recovery": "recovery of attributes",
    "claims_precision": "true claims",
    "sc": "semantic consistency",
    "nsc": "the same, normalised",
    "bc_auc": "behavioural consistency (AUC)",
}
CONDITIONS = ("elm", "shuffled", "copy_text", "probe_text", "own_text")


@contextmanager
def bundle(run: Run, *, spaces: bool = False, evaluation: str | Path | None = None) -> Iterator[Path]:
    """Yield a temporary folder with all of a run that others need; removed when the block ends.

    Args:
        run: the run.
        spaces: put the spaces in, vectors, titles and all; else who loads the run must have them.
        evaluation: folder of an evaluation, whose figures the card tells.

    Raises:
        RunError: the base LLM is a folder of this machine, which others do not have.
    """
    card = read_json(run.path / "elm.json")
    llm = card["llm"]
    if llm["trained"] != "full" and (Path(llm["name"]).is_absolute() or (run.path / llm["name"]).is_dir()):
        raise RunError(
            f"run {run.path} stands on the LLM in {llm['name']}, a folder that others do not have; push that LLM "
            "and train on it by its hub name, or train it whole (its weights are then part of the run)"
        )
    with tempfile.TemporaryDirectory(prefix="vectalk-") as place:
        folder = Path(place)
        for name in FILES:
            if (run.path / name).is_file():
                shutil.copy2(run.path / name, folder / name)
        for name in PARTS:
            if (run.path / name).is_dir():
                shutil.copytree(run.path / name, folder / name)
        if spaces:
            for name, space in run.spaces().items():
                assert space.path is not None
                (folder / "spaces" / name).mkdir(parents=True)
                for file in SPACE_FILES:
                    _copy(space.path / file, folder / "spaces" / name / file)
                card["spaces"][name]["path"] = f"spaces/{name}"
        else:
            for name in card["spaces"]:
                card["spaces"][name]["path"] = f"spaces/{name}"  # where they are looked for; no path of this machine
        if llm["trained"] == "full":
            card["llm"]["name"] = "llm"
        card["corpus"] = "corpus"
        write_text(folder / "README.md", model_card(run, card, spaces, evaluation))
        write_json(folder / "elm.json", card)
        yield folder


def push(
    run: Run,
    repository: str,
    *,
    private: bool = True,
    spaces: bool = False,
    evaluation: str | Path | None = None,
    message: str = "Upload with vectalk",
    api: Any = None,
) -> str:
    """Upload a run to the hub; returns its address.

    Args:
        run: the run.
        repository: `owner/name`.
        private: whether a repository that is made for it is private.
        spaces: see `bundle`.
        evaluation: see `bundle`.
        message: of the commit.
        api: a `huggingface_hub.HfApi`; one with the token of this machine when omitted.

    Raises:
        RunError: the name is no name of a repository, or the hub refuses.
    """
    if not REPOSITORY.fullmatch(repository):
        raise RunError(f"{repository!r} is not the name of a repository; it has the form owner/name")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    api = api or HfApi()
    with bundle(run, spaces=spaces, evaluation=evaluation) as folder:
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
        except (HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled, OSError) as error:
            raise RunError(f"{repository} cannot be uploaded: {str(error).strip().splitlines()[0]}") from None
    return f"https://huggingface.co/{repository}"


def fetch(run: str | Path, revision: str | None = None) -> Path:
    """Return the folder of a run: as it is where there is one, else downloaded from the hub.

    Raises:
        RunError: there is no such folder, and the hub has no such run.
    """
    folder, name = Path(run), str(run)
    if folder.exists() or not REPOSITORY.fullmatch(name) or name.startswith("."):
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(snapshot_download(name, revision=revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RunError(
            f"{name} is no folder of a run (no such folder), and the hub does not give it: {reason}"
        ) from None


def model_card(run: Run, card: dict[str, Any], spaces: bool, evaluation: str | Path | None) -> str:
    """Return the README of a run on the hub: metadata that the hub reads, what training wrote, and figures."""
    metadata = ["---", "library_name: vectalk", "tags:", "- embedding-language-model", "- interpretability"]
    if card["llm"]["trained"] != "full":
        metadata.append(f"base_model: {card['llm']['name']}")
    own = run.path / "README.md"
    text = own.read_text(encoding="utf-8") if own.is_file() else "# An Embedding Language Model\n"
    base = run.card.llm.name
    text = text.replace(f"`{base}`", f"`{Path(base).name}`")  # a path of this machine tells nobody anything
    where = "The spaces are in `spaces/`." if spaces else "The spaces are not part of it: load it with your own copies."
    use = (
        f'{where}\n\n```python\nimport vectalk as vt\n\nelm = vt.ELM.from_pretrained("OWNER/NAME"'
        + ("" if spaces else ", spaces={" + ", ".join(f'"{name}": "DIR"' for name in card["spaces"]) + "}")
        + ")\n```\n"
    )
    return "\n".join([*metadata, "---", "", text.rstrip(), "", use, *_figures(evaluation)])


def _figures(evaluation: str | Path | None) -> Iterable[str]:
    """Yield the figures of an evaluation as a Markdown table."""
    if evaluation is None:
        return
    path = Path(evaluation) / "metrics.jsonl"
    if not path.is_file():
        raise RunError(f"{evaluation} is not an evaluation (it has no metrics.jsonl); make one with `vectalk evaluate`")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    found = {(r["task"], r["metric"], r["condition"]): r for r in rows if r["metric"] in METRICS}
    yield "On entities that training never saw, with 95 % intervals:\n"
    yield "| task | figure | " + " | ".join(f"`{condition}`" for condition in CONDITIONS) + " | n |"
    yield "| --- | --- |" + " --- |" * (len(CONDITIONS) + 1)
    for task, metric in dict.fromkeys((task, metric) for task, metric, _ in found):
        cells = [_cell(found.get((task, metric, condition))) for condition in CONDITIONS]
        count = next((row["n"] for (t, m, _), row in found.items() if (t, m) == (task, metric)), "")
        yield f"| {task} | {METRICS[metric]} | " + " | ".join(cells) + f" | {count} |"
    yield (
        "\n`elm` is this model; `shuffled` the same answers about other entities; `copy_text` the text of the nearest "
        "training entity; `probe_text` a probe of the vector, spelled out; `own_text` the entity's reference text.\n"
    )


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return ""
    interval = "" if row["low"] is None else f" ({row['low']:.2f} to {row['high']:.2f})"
    return f"{row['value']:.2f}{interval}"


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.is_file():
        shutil.copy2(source, target)
