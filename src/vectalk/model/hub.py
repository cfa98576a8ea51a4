"""Runs on the Hugging Face hub: a self-contained copy with a model card goes up; `Run.load` fetches it."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vectalk.errors import RunError
from vectalk.files import read_json, read_jsonl, write_json, write_text
from vectalk.hub_address import HubAddress
from vectalk.model.run import Run
from vectalk.model.run_files import CARDS, READBACK, TRAINED
from vectalk.readback.encoder import is_shared
from vectalk.readback.shelf import FOLDER, shared
from vectalk.space.checks import SPACE_FILES

# What a card tells of an evaluation, beside which conditions.
METRICS = {
    "recovery": "recovery of attributes",
    "claims_precision": "true claims",
    "sc": "semantic consistency",
    "nsc": "the same, normalised",
    "bc_auc": "behavioural consistency (AUC)",
}
CONDITIONS = ("elm", "shuffled", "copy_text", "probe_text", "own_text")
_LOCAL = re.compile(r"(?<=[\s:`'\"(])(?:~|\.{1,2})?/(?!/)[^\s`'\"()]+")  # a path of a machine, but no web address
_COMMAND = re.compile(r'^vectalk ask .*?(?= ")', re.MULTILINE)


@contextmanager
def bundle(
    run: Run, *, spaces: bool = False, evaluation: str | Path | None = None, repository: str = "OWNER/NAME"
) -> Iterator[Path]:
    """Yield a temporary folder with all of a run that others need, and nothing else; removed when the block ends.

    That is what was trained, what the run says of itself without a path of this machine, and the ridges of those
    read-backs whose text encoder others have too. What was fitted to words of the texts stays here.

    Args:
        run: the run.
        spaces: put the spaces in, vectors, titles and all; else who loads the run must have them.
        evaluation: folder of an evaluation, whose figures the card tells.
        repository: where it goes, for the card.

    Raises:
        RunError: the base LLM is a folder of this machine, which others do not have.
    """
    card = run.card.model_dump()
    llm = card["llm"]
    if llm["trained"] != "full" and llm["revision"] is None:
        raise RunError(
            f"run {run.path} stands on the LLM in {llm['name']}, a folder that others do not have; push that LLM "
            "and train on it by its hub name, or train it whole (its weights are then part of the run)"
        )
    with tempfile.TemporaryDirectory(prefix="vectalk-") as place:
        folder = Path(place)
        _copy(run.path, folder, (*CARDS, *TRAINED))
        update = folder / "lora" / "adapter_config.json"
        if update.is_file():
            write_json(update, {**read_json(update), "base_model_name_or_path": llm["name"]})
        for readback in shared(run.path):
            _copy(readback, folder / FOLDER / readback.name, READBACK)
        for name, space in run.spaces().items() if spaces else ():
            assert space.path is not None
            copy = folder / "spaces" / name
            _copy(space.path, copy, SPACE_FILES)
            if space.encoder is not None and not is_shared(space.encoder):
                # Others have no such folder; what stands there is the name of nothing that they could load instead.
                named = {"encoder": f"folder:{Path(space.encoder).name}"}
                write_json(copy / "space.json", {**read_json(copy / "space.json"), **named})
        for name in card["spaces"]:
            card["spaces"][name]["path"] = f"spaces/{name}"  # where they are looked for
        if llm["trained"] == "full":
            card["llm"]["name"] = "llm"
        card["corpus"] = "corpus"
        write_text(folder / "README.md", model_card(run, card, spaces, evaluation, repository))
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
        repository: `owner/name`, or `hf://owner/name`.
        private: whether a repository that is made for it is private.
        spaces: see `bundle`.
        evaluation: see `bundle`.
        message: of the commit.
        api: a `huggingface_hub.HfApi`; one with the token of this machine when omitted.

    Raises:
        RunError: the name is no name of a repository, or the hub refuses.
    """
    address = HubAddress.of_model(repository)
    if address is None or address.revision is not None:
        raise RunError(f"{repository!r} is not the name of a repository; it has the form owner/name")
    repository = address.repository
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    api = api or HfApi()
    with bundle(run, spaces=spaces, evaluation=evaluation, repository=repository) as folder:
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                commit_message=message,
                delete_patterns=[f"{FOLDER}/*"],  # an older vectalk put words of the texts there
            )
        except (HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled, OSError) as error:
            raise RunError(f"{repository} cannot be uploaded: {str(error).strip().splitlines()[0]}") from None
    return f"https://huggingface.co/{repository}"


def model_card(
    run: Run, card: dict[str, Any], spaces: bool, evaluation: str | Path | None, repository: str = "OWNER/NAME"
) -> str:
    """Return the README of a run on the hub: metadata that the hub reads, what training wrote, and figures."""
    metadata = ["---", "library_name: vectalk", "tags:", "- embedding-language-model", "- interpretability"]
    if card["llm"]["trained"] != "full":
        metadata.append(f"base_model: {card['llm']['name']}")
    own = run.path / "README.md"
    text = own.read_text(encoding="utf-8") if own.is_file() else "# An Embedding Language Model\n"
    base = run.card.llm.name
    if card["llm"]["revision"] is None:  # a path of this machine tells nobody anything
        text = text.replace(f"`{base}`", f"`{Path(base).name}`")
    text = _COMMAND.sub(f"vectalk ask hf://{repository}", text)
    text = _LOCAL.sub(lambda path: Path(path[0]).name, text)
    where = "The spaces are in `spaces/`." if spaces else "The spaces are not part of it: load it with your own copies."
    use = (
        f'{where}\n\n```python\nimport vectalk as vt\n\nelm = vt.ELM.from_pretrained("hf://{repository}"'
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
    rows = read_jsonl(path, RunError)
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


def _copy(source: Path, target: Path, patterns: Sequence[str]) -> None:
    """Copy the files of a folder that match one of some patterns."""
    for file in sorted({file for pattern in patterns for file in source.glob(pattern) if file.is_file()}):
        place = target / file.relative_to(source)
        if not any(part.startswith(".") for part in place.relative_to(target).parts):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
