"""What the overview page says of each benchmark: the question it answers and the few figures that answer it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Headline:
    """One line of the overview.

    Attributes:
        question: what the benchmark asks, in a newcomer's words.
        figures: label -> key in the result's `figures`.
    """

    question: str
    figures: dict[str, str]


def _films(question: str, prefix: str) -> Headline:
    """A table of all tasks: means over the tasks, beside copying the nearest training text and the probe."""
    return Headline(
        question,
        {
            "recovery": f"{prefix}_mean_recovery_elm",
            "copying": f"{prefix}_mean_recovery_copy_text",
            "shuffled": f"{prefix}_mean_recovery_shuffled",
            "SC": f"{prefix}_mean_sc_elm",
            "SC of copying": f"{prefix}_mean_sc_copy_text",
            "SC of the probe": f"{prefix}_mean_sc_probe_text",
        },
    )


def _curves(question: str, prefix: str) -> Headline:
    return Headline(
        question,
        {
            "Spearman of step and attribute": f"{prefix}_spearman_elm",
            "probe": f"{prefix}_spearman_probe",
            "target's change over others'": f"{prefix}_ratio_elm",
            "SC at midpoints above copying": f"{prefix}_sc_middle_minus_copy_text_elm",
        },
    )


def _recovery(question: str, prefix: str) -> Headline:
    return Headline(
        question,
        {
            "recovery of genres": f"{prefix}_summary_recovery_genres_elm",
            "of decade": f"{prefix}_summary_recovery_decade_elm",
            "SC": f"{prefix}_summary_sc_elm",
        },
    )


_STAGES = {
    "over the public loop, stage 1": "ratio_public_stage1",
    "stage 2": "ratio_public_stage2",
    "over `Trainer`, stage 1": "ratio_trainer_stage1",
    "stage 2 ": "ratio_trainer_stage2",
}

GOOD: dict[str, Headline] = {
    "movielens-foreign-base-llm-all": _films(
        "All 24 film tasks on vectors that others fitted (MovieLens 25M)", "foreign_base-llm_all"
    ),
    "movielens-own-base-llm-all": _films(
        "The same tasks and user profiles on our own factors (MovieLens latest-small)", "own_base-llm_all"
    ),
    "movielens-semantic-base-llm-all": _films(
        "The same tasks on MiniLM's vectors of film paragraphs", "semantic_base-llm_all"
    ),
    "movielens-foreign-small": Headline(
        "How well genres and decade are read, three seeds",
        {
            "recovery of genres": "recovery_genres",
            "its lower bound": "recovery_genres_low",
            "of decade": "recovery_decade",
            "its lower bound ": "recovery_decade_low",
            "SC minus the probe's, lower bound": "sc_minus_probe_text_low",
        },
    ),
    "semantic": Headline(
        "A 12 M LLM that writes the paragraphs themselves",
        {
            "normalised SC": "nsc_semantic",
            "copying": "nsc_semantic_copy_text",
            "R@10": "recall_at_10_semantic",
            "copying ": "recall_at_10_semantic_copy_text",
        },
    ),
    "curves-foreign": _curves("Walks and concept shifts, vectors of others", "curves_foreign_film"),
    "curves-own": _curves("Walks and concept shifts, our own factors", "curves_own_film"),
    "curves-semantic": _curves("Walks and concept shifts, paragraphs", "curves_semantic_film"),
    "curves-own-more": _curves("Walks between users after more training on profiles", "curves_own-more_user"),
    "curves-semantic-more": _curves("Shifts of paragraphs after more training", "curves_semantic-more_film"),
    "concepts": Headline(
        "Concept directions: how well they separate held-out films",
        {
            "AUC, genres": "concepts_own_genres_auc",
            "random labels": "concepts_own_genres_random_auc",
            "AUC, vectors of others": "concepts_foreign_genres_auc",
        },
    ),
    "support": Headline(
        "Does support notice vectors that lie far from anything real?",
        {
            "AUROC, shuffled coordinates, worst space": "support_auroc_shuffled",
            "8-sd shifts": "support_auroc_shift",
            "Gaussians": "support_auroc_gaussian",
        },
    ),
    "candidates": Headline(
        "Best of 8 answers by read-back, against one greedy answer",
        {"SC gained": "candidates_8_sc_independent_gain", "times the cost": "candidates_8_cost"},
    ),
    "ablation": Headline(
        "Which choices of adapter and training matter: recovery of genres",
        {
            "default": "ablation_base_recovery_genres",
            "linear adapter": "ablation_linear_recovery_genres",
            "adapter alone trained": "ablation_stage_1_only_recovery_genres",
            "500 films": "ablation_500_films_recovery_genres",
        },
    ),
    "own-data": Headline(
        "The guide for your own data, end to end, on invented records",
        {"SC": "records_summary_sc_elm", "normalised SC": "records_summary_nsc_elm"},
    ),
    "movielens-foreign-films-12m": _recovery("An earlier run with a 12 M LLM", "foreign_films-12m"),
    "movielens-own-films-12m": _recovery("An earlier run with a 12 M LLM, our own factors", "own_films-12m"),
    "movielens-own-small": _recovery("An earlier run with a small LLM, our own factors", "own_small"),
}
FAST: dict[str, Headline] = {
    "training": Headline("Training, tokens a second, CPU with bfloat16, 49k words", _STAGES),
    "training-without-bf16": Headline(
        "The same on a CPU without bfloat16", {label: f"{key}_without_bf16" for label, key in _STAGES.items()}
    ),
    "paths": Headline(
        "What each short cut of training gains",
        {
            "batches of like lengths": "paths_grouped_films_stage1",
            "shared prefixes": "paths_shared_films_stage1_8",
            "loss in blocks, 152k words": "paths_loss_151936_frozen",
        },
    ),
    "memory": Headline(
        "Memory of training, in MB, by the number of examples",
        {"ten thousand": "memory_mb_10000_examples", "ten million": "memory_mb_10000000_examples"},
    ),
    "engine": Headline(
        "Batch generation of 20,000 rows against one `generate` a vector",
        {
            "ratio": "ratio_bulk",
            "same texts": "bulk_same_texts",
            "first token among long answers, over alone": "ratio_first_token",
        },
    ),
    "vllm": Headline(
        "vLLM behind the same questions, answers a second",
        {
            "this process": "vllm_here_rows_per_s",
            "vLLM in process": "vllm_process_rows_per_s",
            "over HTTP": "vllm_http_rows_per_s",
            "same texts": "vllm_http_same_texts",
        },
    ),
    "startup": Headline(
        "From a cold start to an answer",
        {"`import vectalk` over `import numpy`": "ratio_import", "cold `ask`, seconds": "ask_cold_s"},
    ),
    "wals": Headline(
        "Our factorisation against `implicit`",
        {
            "recall@20": "wals_recall20",
            "implicit": "implicit_recall20",
            "speed over its exact solver": "ratio_wals_implicit_exact_speed",
        },
    ),
}
