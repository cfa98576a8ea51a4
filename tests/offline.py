"""For tests of the hub: a forbidden network, a cache, a hub of folders, and encoders that say what they load."""

import shutil
import socket
import sys
import types
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub.utils import filter_repo_objects

from vectalk.files import write_text
from vectalk.readback import encoder
from vectalk.readback.encoder import MINILM


def forbid_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the hub's client believe that it is online, refuse every connection, and return what was tried."""
    tried: list[str] = []

    def refuse(*address: Any, **_: Any) -> None:
        tried.append(str(address[-1] if isinstance(address[0], socket.socket) else address[0]))
        raise OSError("the network is forbidden")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return tried


def hub_cache(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Make a folder the hub's local cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    return folder


def cached(cache: Path, repository: str, commit: str, ref: str = "main") -> Path:
    """Return the folder of a repository's files at a commit, which a branch points at from now on."""
    place = cache / f"models--{repository.replace('/', '--')}"
    write_text(place / "refs" / ref, commit)
    (place / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
    return place / "snapshots" / commit


class FakeHub:
    """Keeps what is uploaded in folders, as the hub's client would send it, and gives what is asked for."""

    def __init__(self, place: Path) -> None:
        self.place, self.private = place, {}
        self.fetched: list[str] = []

    @classmethod
    def put(cls, monkeypatch: pytest.MonkeyPatch, place: Path) -> "FakeHub":
        """Put one in the place of the hub's client."""
        fake = cls(place)
        monkeypatch.setattr("huggingface_hub.snapshot_download", fake.snapshot_download)
        monkeypatch.setattr("huggingface_hub.HfApi", lambda: fake)
        return fake

    def create_repo(self, repository: str, *, private: bool, exist_ok: bool) -> None:
        self.private.setdefault(repository, private)

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, commit_message: str, delete_patterns: Sequence[str]
    ) -> None:
        assert repo_id in self.private
        there = self.place / repo_id
        for file in [path for path in there.rglob("*") if path.is_file()]:
            if any(fnmatch(str(file.relative_to(there)), pattern) for pattern in delete_patterns):
                file.unlink()
        shutil.copytree(folder_path, there, dirs_exist_ok=True)

    def snapshot_download(
        self, repo_id: str, *, revision: str | None, allow_patterns: list[str], ignore_patterns: list[str] | None
    ) -> str:
        there, here = self.place / repo_id, self.place / "cache" / repo_id
        files = [str(path.relative_to(there)) for path in there.rglob("*") if path.is_file()]
        for name in filter_repo_objects(files, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns):
            self.fetched.append(name)
            (here / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(there / name, here / name)
        return str(here)


class FakeTransformers(types.ModuleType):
    """In place of sentence-transformers: counts the letters of a text, and keeps how it was asked to load what."""

    def __init__(self, version: str = "6.2.0") -> None:
        super().__init__("sentence_transformers")
        self.__version__ = version
        self.loaded: list[tuple[str, dict[str, Any]]] = []
        module = self

        class SentenceTransformer:
            max_seq_length = None

            def __init__(self, place: str, **options: Any) -> None:
                module.loaded.append((place, options))

            def encode(self, texts: list[str], **_: Any) -> np.ndarray:
                return np.array([[text.lower().count(letter) for letter in LETTERS] for text in texts], np.float32)

            def get_embedding_dimension(self) -> int:
                return len(LETTERS)

        self.SentenceTransformer = SentenceTransformer


LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def fake_transformers(monkeypatch: pytest.MonkeyPatch, cache: Path | None = None, version: str = "6.2.0"):
    """Put a fake in the place of sentence-transformers; with a cache, MiniLM lies there."""
    fake = FakeTransformers(version)
    monkeypatch.setitem(sys.modules, "sentence_transformers", fake)
    monkeypatch.setattr(encoder, "MINILM_PACKAGE", "no_such_package")
    encoder._sentence_encoder.cache_clear()
    if cache is not None:
        cached(hub_cache(monkeypatch, cache), MINILM, "e" * 40)
    return fake
