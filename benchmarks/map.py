"""The map: what the vectors of empty places are worth, and how fast the page draws, compared with its plain library.

    python benchmarks/map.py --part places                    # seconds, no model
    python benchmarks/map.py --part places --run runs/demo/run
    python benchmarks/map.py --part page --run runs/demo/run --points 2000 100000 1000000

Places: held-out entities are left out of the map, and the vector of the place where each one lies is computed from the
nearest others. Centred cosine with the entity's own vector, compared with the vector of the single nearest point on the
map, and with a random training vector (control). With --run, the model also answers about these vectors, and recovery
shows how much of the attributes its answers state: 0 is the majority value, 1 is a probe of the entity's own vector.

Page: seconds from the address to the drawn points, and frames a second while the view zooms, in headless Chromium whose
graphics are drawn by the processor. The baseline is a page of a few lines with regl-scatterplot alone, which draws the
same points; both pages are measured in turns. It needs `npm ci` in web/, chromium and chromedriver.

Parts that were measured before keep their figures.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from common import RESULTS, ROOT, print_table, shown_path, write_result
from vectalk.space import VectorSpace
from vectalk.space.layout import Layout, build_layout
from vectalk.space.layout.accuracy import cosines_at_places, held_out_sample, vectors_at_places
from vectalk.space.split import TEST, TRAIN

FILMS = ROOT / "demo-data" / "films"
ATTRIBUTES = ("genres", "decade")  # attributes whose recovery is measured, where the task states them
PARTS = ("places", "page")
KINDS = {"own": "own vector", "place": "place", "nearest": "nearest point", "random": "random entity"}


def layout_of(space: VectorSpace) -> Layout:
    """Return the layout beside a space, computed again only where there is none."""
    return (
        Layout.load(space) if space.path is not None and (space.path / "layout.json").is_file() else build_layout(space)
    )


def places(space: VectorSpace, count: int, seed: int) -> dict[str, float]:
    """Return the mean centred cosines of held-out entities with the vectors at their places, with 95 % intervals."""
    rows = held_out_sample(space, count, seed)
    figures: dict[str, float] = {"map_places": len(rows)}
    for kind, cosines in cosines_at_places(space, layout_of(space).coordinates, rows, seed).items():
        rng = np.random.default_rng(seed)
        means = [rng.choice(cosines, len(cosines)).mean() for _ in range(1_000)]
        figures[f"map_cosine_{kind}"] = float(cosines.mean())
        figures[f"map_cosine_{kind}_low"], figures[f"map_cosine_{kind}_high"] = np.percentile(means, [2.5, 97.5])
    return figures


def recovered(run: str, space_name: str, count: int, seed: int) -> dict[str, float]:
    """Return the recovery of attributes from answers about test entities, their places and the controls."""
    from vectalk.evaluation.metrics.bootstrap import corrected, whole
    from vectalk.evaluation.metrics.rows import attribute_score, majority
    from vectalk.evaluation.probes.probe import Probe, known_values
    from vectalk.space.split import VALIDATION
    from vectalk.talk import ELM
    from vectalk.tasks import FactsTeacher

    elm = ELM.from_pretrained(run)
    space = elm.spaces[space_name]
    tasks = [task for task in elm.suite.tasks if list(task.slots.values()) == [space_name] and task.states]
    task = next(task for task in tasks if set(ATTRIBUTES) & set(task.states))
    (slot,) = task.slots
    rng = np.random.default_rng(seed)
    tests = space.rows(TEST)
    rows = np.sort(rng.choice(tests, min(count, len(tests)), replace=False))
    vectors, nearest = vectors_at_places(space, layout_of(space).coordinates, rows)
    strangers = rng.choice(space.rows(TRAIN), len(rows))
    points = {"own": space.vectors[rows], "place": vectors, "nearest": space.vectors[nearest]}
    points["random"] = space.vectors[strangers]
    readers = FactsTeacher(elm.suite, elm.spaces).readers[space_name]
    figures: dict[str, float] = {"map_recovery_entities": len(rows)}
    answers = {
        kind: [answer.text for answer in elm.ask([task.prompts[0]] * len(rows), [{slot: v} for v in values])]
        for kind, values in points.items()
    }
    for attribute in [name for name in ATTRIBUTES if name in task.states]:
        reader = readers[attribute]
        true = [reader.value(int(row)) for row in rows]
        constant = majority(reader, known_values(reader, TRAIN)[1], known_values(reader, VALIDATION)[1])
        read = {"floor": [constant] * len(rows), "ceiling": Probe.fit(reader, seed=seed).predict(points["own"])}
        read |= {kind: [reader.read(text) for text in texts] for kind, texts in answers.items()}
        scores = {
            kind: whole(attribute_score(reader.kind, values, true, constant), len(rows))
            for kind, values in read.items()
        }
        for kind in answers:
            share = corrected(*(np.array([scores[name]]) for name in (kind, "floor", "ceiling")))
            figures[f"map_recovery_{attribute}_{kind}"] = float(share[0])
    return figures


def page(run: str, sizes: list[int], pairs: int) -> tuple[dict[str, float], str]:
    """Return seconds to the first picture and frames a second of both pages, and the version of the library."""
    if shutil.which("npm") is None:
        sys.exit("skipped: the baseline needs npm, which is not installed")
    if not (ROOT / "web" / "node_modules" / "regl-scatterplot").is_dir():
        sys.exit("skipped: the baseline needs its library; run `npm ci` in web/")
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        sys.exit("skipped: needs a browser: apt-get install chromium chromium-driver")
    if not (Path(run) / "elm.json").is_file():
        sys.exit(f"skipped: no run at {run}; make one with `make demo`, or name another with --run")
    from map_page import library_version, measure

    return measure(run, sizes, pairs), library_version()


def rows_of(figures: dict[str, float]) -> tuple[list[str], list[list[Any]]]:
    """Return one table of places and page: a column for each measure, a row for each kind of vector or page."""
    rows: list[list[Any]] = []
    for kind, name in KINDS.items():
        cosine = figures.get(f"map_cosine_{kind}")
        if cosine is not None:
            low, high = figures[f"map_cosine_{kind}_low"], figures[f"map_cosine_{kind}_high"]
            rows.append([f"{name}: centred cosine with the own vector", f"{cosine:.3f} ({low:.3f} to {high:.3f})"])
    for attribute in ATTRIBUTES:
        for kind, name in KINDS.items():
            if f"map_recovery_{attribute}_{kind}" in figures:
                rows.append([f"{name}: recovery of {attribute}", f"{figures[f'map_recovery_{attribute}_{kind}']:.3f}"])
    for size in sorted(int(key.rpartition("_")[2]) for key in figures if key.startswith("map_first_s_")):
        for label, key in (("seconds to the first picture", "map_first_s"), ("frames a second", "map_fps")):
            ours, plain = figures[f"{key}_{size}"], figures[f"{key.replace('map_', 'map_plain_')}_{size}"]
            rows.append([f"{size:,} points: {label}", f"{ours:.3g} (plain library: {plain:.3g})"])
    return ["measure", "value"], rows


def main() -> None:
    """Measure the parts and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", nargs="?", type=Path, default=FILMS, help="folder of a space (default: demo's films)")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--run", help="run that answers (part places), and that is served (part page)")
    parser.add_argument("--count", type=int, default=300, help="held-out entities")
    parser.add_argument("--points", type=int, nargs="+", default=[2_000, 100_000, 1_000_000], help="sizes of the map")
    parser.add_argument("--pairs", type=int, default=3, help="interleaved pairs of both pages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-write", action="store_true", help="print the figures only")
    options = parser.parse_args()
    known = json.loads((RESULTS / "map.json").read_text()) if (RESULTS / "map.json").is_file() else {}
    figures: dict[str, float] = {}
    more: dict[str, Any] = {name: known[name] for name in ("library",) if name in known}
    if "places" in options.part:
        space = VectorSpace.load(options.space)
        figures |= places(space, options.count, options.seed)
        if options.run:
            figures |= recovered(options.run, space.name, options.count, options.seed)
    if "page" in options.part:
        drawn, version = page(options.run or "runs/demo/run", options.points, options.pairs)
        figures |= drawn
        more["library"] = f"regl-scatterplot {version}"
    columns, rows = rows_of(figures)
    print_table(rows, columns)
    if options.no_write:
        return
    figures = {**known.get("figures", {}), **figures}
    columns, rows = rows_of(figures)
    measured = list(PARTS) if any(key.startswith("map_first_s_") for key in figures) else ["places"]
    command = f"python benchmarks/map.py --part {' '.join(measured)}"
    if options.space != FILMS:
        command += f" {shown_path(options.space)}"
    if options.run:
        command += f" --run {shown_path(options.run)}"
    path = write_result("map", command, figures, columns=columns, rows=rows, listed=[], **more)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
