"""Upload of runs to the Hugging Face hub, as self-contained copies with a model card; `Run.load` downloads them."""

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
from vectalk.model.run import Run, name_base
from vectalk.model.run_files import CARDS, READBACK, TRAINED
from vectalk.readback.encoder import is_shared
from vectalk.readback.shelf import FOLDER, shared
from vectalk.space.checks import SPACE_FILES

# The metrics and conditions of an evaluation that a model card shows.
METRICS = {
    "recovery": "recovery of attributes",
    "claims_precision": "true claims",
    "sc": "semantic consistency",
    "nsc": "the same, normalised",
    "bc_auc": "behavioural consistency (AUC)",
}
CONDITIONS = ("elm", "shuffled", "copy_text", "probe_text", "own_text")
_LOCAL = re.compile(r"(?<=[\s:`'\"(])(?:~|\.{1,2})?/(?!/)[^\s`'\"()]+")  # a path of this machine, not a web address
_COMMAND = re.compile(r'^vectalk ask .*?(?= ")', re.MULTILINE)


@contextmanager
def bundle(
    run: Run, *, spaces: bool = False, evaluation: str | Path | None = None, repository: str = "OWNER/NAME"
) -> Iterator[Path]:
    """Yield a temporary folder with the files of a run that other users need; the block's end removes the folder.

    The folder has the trained weights, the run's cards without paths of this machine, and the ridge regressions of
    those read-backs whose text encoder is public. Encoders that were fitted to the texts are left out, because they
    contain words of the texts.

    Args:
        run: the run.
        spaces: include the spaces with vectors and titles; otherwise the user who loads the run must have them.
        evaluation: folder of an evaluation whose figures the model card shows.
        repository: `owner/name` that the model card names.

    Raises:
        RunError: the base LLM is a local folder, which other users do not have.
    """
    card = run.card.model_dump()
    llm = card["llm"]
    if llm["trained"] != "full" and llm["revision"] is None:
        raise RunError(
            f"run {run.path} needs the base LLM in {llm['name']}, a folder that others do not have; upload "
            "that LLM to the hub and train on it by its hub name, or fully fine-tune it (its weights are "
            "then part of the run)"
        )
    with tempfile.TemporaryDirectory(prefix="vectalk-") as place:
        folder = Path(place)
        _copy(run.path, folder, (*CARDS, *TRAINED))
        name_base(folder, llm["name"])
        for readback in shared(run.path):
            _copy(readback, folder / FOLDER / readback.name, READBACK)
        for name, space in run.spaces().items() if spaces else ():
            assert space.path is not None
            copy = folder / "spaces" / name
            _copy(space.path, copy, SPACE_FILES)
            if space.encoder is not None and not is_shared(space.encoder):
                # Other users do not have this folder; the new value must not be a name that they could load by mistake.
                without_path = {"encoder": f"folder:{Path(space.encoder).name}"}
                write_json(copy / "space.json", {**read_json(copy / "space.json"), **without_path})
        for name in card["spaces"]:
            card["spaces"][name]["path"] = f"spaces/{name}"  # `Run.spaces` looks for them there
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
    """Upload a run to the hub and return its address.

    Args:
        run: the run.
        repository: `owner/name`, or `hf://owner/name`.
        private: whether a new repository is private.
        spaces: see `bundle`.
        evaluation: see `bundle`.
        message: commit message.
        api: a `huggingface_hub.HfApi`; one with this machine's token when None.

    Raises:
        RunError: `repository` is not a valid name, or the upload fails.
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
                delete_patterns=[f"{FOLDER}/*"],  # an older vectalk uploaded words of the texts there
            )
        except (HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled, OSError) as error:
            raise RunError(f"{repository} cannot be uploaded: {str(error).strip().splitlines()[0]}") from None
    return f"https://huggingface.co/{repository}"


def model_card(
    run: Run, card: dict[str, Any], spaces: bool, evaluation: str | Path | None, repository: str = "OWNER/NAME"
) -> str:
    """Return the README of a run for the hub: metadata for the hub, the run's own README, and evaluation figures."""
    metadata = ["---", "library_name: vectalk", "tags:", "- embedding-language-model", "- interpretability"]
    if card["llm"]["trained"] != "full":
        metadata.append(f"base_model: {card['llm']['name']}")
    own = run.path / "README.md"
    text = own.read_text(encoding="utf-8") if own.is_file() else "# An Embedding Language Model\n"
    base = run.card.llm.name
    if card["llm"]["revision"] is None:  # a path of this machine is of no use to others
        text = text.replace(f"`{base}`", f"`{Path(base).name}`")
    text = _COMMAND.sub(f"vectalk ask hf://{repository}", text)
    text = _LOCAL.sub(lambda path: Path(path[0]).name, text)
    where = "The spaces are in `spaces/`." if spaces else "The spaces are not included: load the run with your copies."
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
    by_key = {(r["task"], r["metric"], r["condition"]): r for r in rows if r["metric"] in METRICS}
    yield "On held-out entities, with 95 % intervals:\n"
    yield "| task | figure | " + " | ".join(f"`{condition}`" for condition in CONDITIONS) + " | n |"
    yield "| --- | --- |" + " --- |" * (len(CONDITIONS) + 1)
    for task, metric in dict.fromkeys((task, metric) for task, metric, _ in by_key):
        cells = [_cell(by_key.get((task, metric, condition))) for condition in CONDITIONS]
        count = next((row["n"] for (t, m, _), row in by_key.items() if (t, m) == (task, metric)), "")
        yield f"| {task} | {METRICS[metric]} | " + " | ".join(cells) + f" | {count} |"
    yield (
        "\n`elm` is this model; `shuffled` scores the same answers against other entities; `copy_text` is the text "
        "of the nearest training entity; `probe_text` is a probe of the vector, written as text; `own_text` is the "
        "entity's reference text.\n"
    )


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return ""
    interval = "" if row["low"] is None else f" ({row['low']:.2f} to {row['high']:.2f})"
    return f"{row['value']:.2f}{interval}"


def _copy(source: Path, target: Path, patterns: Sequence[str]) -> None:
    """Copy the files of a folder that match any of the patterns; skip hidden files."""
    for file in sorted({file for pattern in patterns for file in source.glob(pattern) if file.is_file()}):
        place = target / file.relative_to(source)
        if not any(part.startswith(".") for part in place.relative_to(target).parts):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
