"""Our factorisation beside `implicit`'s: recall of held-out films, and speed. Needs the extra `bench`.

Both minimise the same loss (unobserved weight 1, observed weight `--weight`, plain L2) on the same training
pairs, at equal dimension and number of iterations, with the settings that suit `implicit` best: of l2 2, 5, 15,
30 and weight 2, 5, 10, 20, on seed 100, which is not reported. `wals_defaults` is ours at its own defaults,
which were chosen on another random split of the same ratings. Positives are ratings of 3.5 and above; a fifth
of each user's is held out. Recall@20 is hits over min(20, held-out), the mean over users.
"""

from __future__ import annotations

import os

THREADS = os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is loaded; both get the same
os.environ["OPENBLAS_NUM_THREADS"] = THREADS

import time  # noqa: E402
import warnings  # noqa: E402

import numpy as np  # noqa: E402

from common import data_folder, interleaved, parser, print_table, write_result  # noqa: E402
from vectalk.space.factorization.ratings import hold_out, read_ratings  # noqa: E402
from vectalk.space.factorization.wals import WalsConfig, wals  # noqa: E402


def main() -> None:
    """Run the comparison."""
    arguments = parser(__doc__)
    for name, default in (("--dim", 64), ("--iterations", 15), ("--seeds", 3), ("--pairs", 5)):
        arguments.add_argument(name, type=int, default=default)
    arguments.add_argument("--l2", type=float, default=15.0)
    arguments.add_argument("--weight", type=float, default=2.0, help="of observed pairs; unobserved weigh 1")
    options = arguments.parse_args()
    ratings = read_ratings(data_folder(options.data) / "movielens-latest-small" / "ratings.csv")
    positive = ratings.filter(np.asarray(ratings["rating"]) >= 3.5)
    user = np.unique(positive["user"].to_numpy(), return_inverse=True)[1]
    item = np.unique(positive["item"].to_numpy(), return_inverse=True)[1]
    shape = (int(user.max()) + 1, int(item.max()) + 1)

    same = {"dim": options.dim, "iterations": options.iterations, "l2": options.l2, "unobserved": 1.0}
    recalls: dict[str, list[float]] = {"wals": [], "implicit": [], "wals_defaults": []}
    for seed in range(options.seeds):
        test = hold_out(user, 0.2, seed)
        train = (user[~test], item[~test])

        def recall(users: np.ndarray, items: np.ndarray, test: np.ndarray = test) -> float:
            return recall_at_20(users @ items.T, user, item, test)

        ours = fit_wals(train, shape, WalsConfig(**same, alpha=options.weight - 1.0, seed=seed))
        theirs = fit_implicit(train, shape, options, seed)
        defaults = fit_wals(train, shape, WalsConfig(seed=seed))
        for name, sides in (("wals", ours), ("implicit", theirs), ("wals_defaults", defaults)):
            recalls[name].append(recall(*sides))

    config = WalsConfig(**same, alpha=options.weight - 1.0)
    ours, theirs = interleaved(
        lambda: seconds(lambda: fit_wals(train, shape, config)),
        lambda: seconds(lambda: fit_implicit(train, shape, options, 0)),
        options.pairs,
    )
    exact = [seconds(lambda: fit_implicit(train, shape, options, 0, exact=True)) for _ in range(options.pairs)]
    figures = {f"{name}_recall20": float(np.mean(values)) for name, values in recalls.items()}
    figures["ratio_wals_implicit_speed"] = float(np.median(theirs) / np.median(ours))
    figures["ratio_wals_implicit_exact_speed"] = float(np.median(exact) / np.median(ours))
    print_table(list(figures.items()), ("figure", "value"))
    spread = {name: [round(value, 4) for value in values] for name, values in recalls.items()}
    settings = {**same, "weight": options.weight, "seeds": options.seeds, "threads": int(THREADS)}
    write_result("wals", "python benchmarks/wals.py", figures, settings=settings, recall20_by_seed=spread)


def fit_wals(
    train: tuple[np.ndarray, np.ndarray], shape: tuple[int, int], config: WalsConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return our user and item vectors."""
    factors = wals(*train, np.ones(len(train[0])), config, n_users=shape[0], n_items=shape[1])
    return factors.users, factors.items


def fit_implicit(
    train: tuple[np.ndarray, np.ndarray], shape: tuple[int, int], options, seed: int, exact: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return implicit's; by its default (conjugate gradient), or by exact solves like ours."""
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AlternatingLeastSquares(
            factors=options.dim,
            regularization=options.l2,
            alpha=options.weight,
            iterations=options.iterations,
            use_cg=not exact,
            num_threads=int(THREADS),
            random_state=seed,
        )
        model.fit(csr_matrix((np.ones(len(train[0]), np.float32), train), shape), show_progress=False)
    return model.user_factors, model.item_factors


def recall_at_20(scores: np.ndarray, user: np.ndarray, item: np.ndarray, test: np.ndarray) -> float:
    """Return the mean over users of hits among the best 20 unseen items, over min(20, held-out items)."""
    scores = np.array(scores)
    scores[user[~test], item[~test]] = -np.inf
    wanted = np.zeros(scores.shape, bool)
    wanted[user[test], item[test]] = True
    best = np.argpartition(-scores, 20, axis=1)[:, :20]
    held = wanted.sum(1)
    hits = np.take_along_axis(wanted, best, 1).sum(1)
    return float((hits[held > 0] / np.minimum(held[held > 0], 20)).mean())


def seconds(run) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
