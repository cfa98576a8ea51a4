"""Addresses on the Hugging Face hub, `hf://owner/name`, and the files that are fetched from there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vectalk.errors import VectalkError

_SCHEME = re.compile(r"hf:/{1,2}(?!/)")  # pathlib writes one slash where there were two
_PART = r"[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?"
_ADDRESS = re.compile(rf"({_PART}/{_PART})(?:@([\w./-]+))?", re.ASCII)
# A bare name that ends so is a file that was not found, whatever the hub may call its models.
_FILE_SUFFIXES = (
    *(".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".onnx", ".h5", ".npy", ".npz"),
    *(".json", ".jsonl", ".yaml", ".yml", ".csv", ".tsv", ".txt", ".md", ".parquet", ".zip", ".tar", ".gz", ".git"),
)


class HubAddress(NamedTuple):
    """A repository on the hub, `owner/name`, and the branch, tag or commit of it that is meant."""

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"hf://{self.repository}" + ("" if self.revision is None else f"@{self.revision}")

    @classmethod
    def read(cls, place: str | Path) -> HubAddress | None:
        """Return the address that `hf://owner/name` or `hf://owner/name@revision` writes; None for anything else.

        Raises:
            VectalkError: it begins with `hf://` and goes on otherwise.
        """
        text = str(place)
        scheme = _SCHEME.match(text)
        if scheme is None:
            return None
        address = cls._parse(text[scheme.end() :])
        if address is None:
            raise VectalkError(
                f"{text!r} is no address on the Hugging Face hub: that is hf://owner/name, or hf://owner/name@revision "
                "with a branch, tag or commit"
            )
        return address

    @classmethod
    def of_model(cls, name: str) -> HubAddress | None:
        """Return the address of an LLM or text encoder, for which a bare `owner/name` does too; None for a path."""
        address = cls.read(name)
        if address is None and "@" not in name and not name.lower().endswith(_FILE_SUFFIXES):
            address = cls._parse(name)
        return address

    @classmethod
    def _parse(cls, text: str) -> HubAddress | None:
        match = _ADDRESS.fullmatch(text)
        if match is None or "--" in match[1] or ".." in match[1]:
            return None
        return cls(match[1], match[2])

    def download(
        self, patterns: Sequence[str], error: type[VectalkError] = VectalkError, ignored: Sequence[str] = ()
    ) -> Path:
        """Return the folder in the local cache with the files of the repository that match one of some patterns.

        Args:
            patterns: with `*` for anything, also for several folders.
            error: what to raise.
            ignored: patterns of files that are left out all the same.

        Raises:
            error: the hub does not give the repository, and the cache does not hold it.
        """
        from huggingface_hub import snapshot_download

        try:
            folder = snapshot_download(
                self.repository,
                revision=self.revision,
                allow_patterns=list(patterns),
                ignore_patterns=list(ignored) or None,
            )
        except Exception as problem:  # beside its own errors the client lets through those of its transport
            reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
            raise error(f"{self} cannot be fetched from the Hugging Face hub: {reason}") from None
        return Path(folder)


def local_folder(
    place: str | Path, patterns: Sequence[str], error: type[VectalkError], revision: str | None = None
) -> Path:
    """Return a folder as it is, or that of an address on the hub once its files are here.

    The hub is asked for nothing but what is named by `hf://owner/name`: a path that does not exist may well look like
    an owner and a name.

    Args:
        place: the folder, or the address.
        patterns: the files that are fetched, see `HubAddress.download`.
        error: what to raise.
        revision: branch, tag or commit, where the address names none.

    Raises:
        error: the address cannot be fetched, or the revision is that of nothing on the hub.
    """
    address = HubAddress.read(place)
    if revision is not None:
        if address is None or address.revision not in (None, revision):
            raise error(f"revision {revision!r} is not that of {place}; it belongs to hf://owner/name on the hub")
        address = address._replace(revision=revision)
    return Path(place) if address is None else address.download(patterns, error)
