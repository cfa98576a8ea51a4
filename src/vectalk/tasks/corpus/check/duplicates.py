"""Find identical and nearly identical targets that are about different entities.

Two targets are identical if they differ only in case and blanks. They are nearly identical if the Jaccard similarity of
their sets of word trigrams is 0.8 or more. MinHash (48 hashes in 16 bands of three) estimates this similarity: two
targets are compared if a band agrees, and count as nearly identical if six of the 16 bands agree. This rule finds 99.9,
91, 49, 11 and 1 % of the pairs with similarity 0.9, 0.8, 0.7, 0.6 and 0.5. Texts of the facts teacher come from
templates and are often identical by design; the figures report their share of identical targets, without findings.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from vectalk.space.letters import has_signs, words_in
from vectalk.space.split import SPLITS, TRAIN
from vectalk.tasks.corpus.check.findings import Batch, Finding, Level, short

BANDS, ROWS, ALIKE = 16, 3, 6
WORDS = 3  # consecutive words in a shingle
MOST = 2_000_000  # the most examples compared for near duplicates; more are sampled by their entities
SHARED, NEAR, CROSS = 0.05, 0.2, 0.01  # shares of targets above which there is a finding
SEED = 20231006


def normalised(text: str) -> str:
    """Return a text in lower case, with each run of blanks as one space."""
    return " ".join(text.lower().split())


def signatures(texts: Sequence[str]) -> np.ndarray:
    """Return the band hashes [n, 16] (uint32) of normalised texts [n]; similar texts share many hashes."""
    from datasketch import MinHash

    hashes = MinHash.bulk([_shingles(text) for text in texts], num_perm=BANDS * ROWS, seed=SEED, hashfunc=zlib.crc32)
    least = np.array([each.hashvalues for each in hashes], np.uint64).reshape(len(texts), BANDS, ROWS)
    mixed = (least[..., 0] * np.uint64(0x9E3779B1) + least[..., 1]) * np.uint64(0x85EBCA6B) + least[..., 2]
    return (mixed ^ (mixed >> np.uint64(32))).astype(np.uint32)


def _shingles(text: str) -> set[bytes]:
    """Return the runs of WORDS consecutive words of a text."""
    words = words_in(text) if has_signs(text) else text.split()
    return {" ".join(words[i : i + WORDS]).encode() for i in range(max(1, len(words) - WORDS + 1))}


class Duplicates:
    """Compares all targets of each task; memory is about 80 bytes per example.

    Args:
        total: number of examples of the corpus.
        text_of: returns the target of an example, by split and number, to quote it in findings.
    """

    def __init__(self, total: int, text_of: Callable[[str, int], str] = lambda split, number: "") -> None:
        self.text_of = text_of
        self.share = min(1.0, MOST / max(total, 1))
        self.tasks: dict[str, int] = {}
        self._columns: dict[str, list[np.ndarray]] = {
            name: [] for name in ("task", "split", "number", "slots", "target", "facts", "bands", "banded")
        }
        self._figures: dict[str, Any] = {}

    def add(self, batch: Batch) -> None:
        """Check a batch of examples."""
        slots = np.array([hash(tuple(rows.values())) & (2**64 - 1) for rows in self._rows(batch)], np.uint64)
        texts = [normalised(target or "") for target in batch.targets]
        facts = np.array([teacher.startswith("facts") for teacher in batch.teachers])
        banded = ~facts & (slots % np.uint64(2**20) < self.share * 2**20)
        bands = signatures([texts[i] for i in np.flatnonzero(banded)])
        digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
        task = [self.tasks.setdefault(name, len(self.tasks)) for name in batch.tasks]
        columns: dict[str, np.ndarray] = {
            "task": np.array(task, np.int16),
            "split": np.full(len(batch), SPLITS.index(batch.split), np.int8),
            "number": np.arange(batch.start, batch.start + len(batch), dtype=np.uint32),
            "slots": slots,
            "target": np.frombuffer(digests, np.uint64),
            "facts": facts,
            "bands": bands,
            "banded": banded,
        }
        for name, values in columns.items():
            self._columns[name].append(values)

    @staticmethod
    def _rows(batch: Batch) -> list[dict[str, int]]:
        return [{slot: row for slot, (_, row) in sorted(slots.items())} for slots in batch.slots]

    def findings(self) -> Iterator[Finding]:
        """Yield the findings about all batches."""
        if not self._columns["task"]:
            return
        c = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        self._columns = {}
        place = np.flatnonzero(c["banded"])
        for name, code in self.tasks.items():
            mine = np.flatnonzero(c["task"] == code)
            facts = bool(c["facts"][mine].all())
            shared, crossed, twins = _identical(c["target"][mine], c["slots"][mine], c["split"][mine])
            aside = int((c["split"][mine] != 0).sum())
            figures = {"identical": float(shared.mean()), "identical_to_training": float(crossed.sum() / max(aside, 1))}
            self._figures[name] = figures
            if facts:
                continue
            yield from self._findings_of(name, c, mine, shared, crossed, twins, "identical", aside)
            banded = np.flatnonzero(c["task"][place] == code)
            at = place[banded]
            near, cross, pairs = _near(c["bands"][banded], c["slots"][at], c["split"][at])
            outside = int((c["split"][at] != 0).sum())
            figures |= {
                "near": float(near.mean()) if len(at) else 0.0,
                "near_to_training": cross.sum() / max(outside, 1),
            }
            figures["near_to_training"] = float(figures["near_to_training"])
            # Identical targets are also near, but their finding exists already.
            reported = set(mine[crossed])
            fresh = np.array([i not in reported for i in at], bool) if len(at) else np.zeros(0, bool)
            yield from self._findings_of(name, c, at, near & fresh, cross & fresh, pairs, "nearly identical", outside)

    def _findings_of(
        self,
        task: str,
        c: dict[str, np.ndarray],
        places: np.ndarray,
        within: np.ndarray,
        across: np.ndarray,
        partner: np.ndarray,
        how: str,
        aside: int,
    ) -> Iterator[Finding]:
        identical = how == "identical"
        if across.any() and (identical or across.sum() >= CROSS * aside):
            few = across.sum() < max(5, CROSS * aside)
            message = (
                f"task {task!r}: {across.sum():,} of {aside:,} validation and test targets are {how} to a training "
                "target about other entities; a model may have memorised them"
            )
            level: Level = "problem" if identical and not few else "warning"
            yield Finding("duplicate", level, message, int(across.sum()), self._pairs(c, places, across, partner))
        share = within.mean() if len(within) else 0.0
        if share > (SHARED if identical else NEAR):
            message = f"task {task!r}: {share:.0%} of the targets are {how} to a target about other entities"
            yield Finding("duplicate", "warning", message, int(within.sum()), self._pairs(c, places, within, partner))

    def _pairs(self, c: dict[str, np.ndarray], places: np.ndarray, which: np.ndarray, partner: np.ndarray) -> list[str]:
        lines = []
        for i in np.flatnonzero(which & (partner >= 0))[:2]:
            ends = [(SPLITS[c["split"][places[j]]], int(c["number"][places[j]])) for j in (i, partner[i])]
            lines.append(
                " = ".join(f"{split} {number}" for split, number in ends) + f": {short(self.text_of(*ends[0]))}"
            )
        return lines

    def figures(self) -> dict[str, Any]:
        """Return for each task the shares of identical and nearly identical targets."""
        rounded = {task: {k: round(v, 4) for k, v in figures.items()} for task, figures in self._figures.items()}
        return {"duplicates": {"share_compared": self.share, "tasks": rounded}}


def _identical(target: np.ndarray, slots: np.ndarray, split: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find identical targets about different entities.

    Returns:
        Three arrays [n]: whether an example of another entity has the same target; whether the example is held out and
        such an example is in training; the number of such an example, or -1.
    """
    order = np.lexsort((slots, split, target))  # training first
    first = np.r_[True, target[order][1:] != target[order][:-1]]
    group = np.cumsum(first) - 1
    leader = order[np.flatnonzero(first)][group]
    other = slots[order] != slots[leader]
    many = np.zeros(group[-1] + 1, bool)
    many[group[other]] = True
    shared, crossed, partner = np.zeros(len(target), bool), np.zeros(len(target), bool), np.full(len(target), -1)
    shared[order] = many[group]
    crossed[order] = other & (split[order] != SPLITS.index(TRAIN)) & (split[leader] == SPLITS.index(TRAIN))
    partner[order] = np.where(other, leader, -1)
    return shared, crossed, partner


def _near(bands: np.ndarray, slots: np.ndarray, split: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the same three arrays for nearly identical targets, from their band hashes [n, 16].

    Within a band, each target is compared with the first target of the same hash (a training one if possible) and with
    the target before it.
    """
    n = len(bands)
    near, cross, partner = np.zeros(n, bool), np.zeros(n, bool), np.full(n, -1)
    for band in bands.T:
        order = np.lexsort((np.arange(n), split, band))
        first = np.r_[True, band[order][1:] != band[order][:-1]] if n else np.zeros(0, bool)
        leader = order[np.flatnonzero(first)][np.cumsum(first) - 1]
        before = np.where(first, order, np.r_[order[:1], order[:-1]])
        for other in (leader, before):
            candidates = np.flatnonzero(slots[order] != slots[other])
            a, b = order[candidates], other[candidates]
            alike = (bands[a] == bands[b]).sum(1) >= ALIKE
            a, b = a[alike], b[alike]
            near[a] = near[b] = True
            partner[a] = b
            cross[a[(split[a] != 0) & (split[b] == 0)]] = True
    return near, cross, partner
