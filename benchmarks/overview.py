"""The lines of the overview page: for each benchmark, its question and the main figures of its result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Headline:
    """One line of the overview.

    Attributes:
        question: what the benchmark measures, in words that a newcomer understands.
        figures: key in the `figures` of the result, by label.
    """

    question: str
    figures: dict[str, str]


def _films(question: str, prefix: str) -> Headline:
    """Return the line of a table of all tasks: means over the tasks, with the controls and baselines."""
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


def _serve(question: str, prefix: str) -> Headline:
    return Headline(
        question,
        {
            "32 streams at once, times as fast as one by one": f"{prefix}ratio_serve_32",
            "first token with 32 clients, median in ms": f"{prefix}serve_first_ms_32_p50",
            "95th percentile": f"{prefix}serve_first_ms_32_p95",
            "time of a request, divided by that of `elm.ask`": f"{prefix}serve_over_ask",
            "failures (5xx) of invented requests": f"{prefix}fuzz_5xx",
            "memory after ten minutes of load, divided by that after two": f"{prefix}soak_growth",
            "rows left": f"{prefix}soak_rows_left",
        },
    )


def _curves(question: str, prefix: str) -> Headline:
    return Headline(
        question,
        {
            "Spearman correlation of step and attribute": f"{prefix}_spearman_elm",
            "the same for the probe": f"{prefix}_spearman_probe",
            "change of the target, divided by that of other values": f"{prefix}_ratio_elm",
            "SC at midpoints, minus that of copying": f"{prefix}_sc_middle_minus_copy_text_elm",
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


def _distilled(question: str, prefix: str) -> Headline:
    """Return the line of a comparison of target texts, distillation, and both."""
    names = {"targets": "target texts", "distill": "distillation", "both": "both"}
    ratios = {f"unseen ratio, {name}": f"{prefix}_{key}_questions_unseen_ratio_genres" for key, name in names.items()}
    kept = {f"KL kept, {names[key]}": f"{prefix}_{key}_questions_kl_kept" for key in ("distill", "both")}
    return Headline(question, ratios | kept)


_STAGES = {
    "times as fast as the public loop, stage 1": "ratio_public_stage1",
    "stage 2": "ratio_public_stage2",
    "times as fast as `Trainer`, stage 1": "ratio_trainer_stage1",
    "stage 2 ": "ratio_trainer_stage2",
}

GOOD: dict[str, Headline] = {
    "movielens-foreign-base-llm-all": _films(
        "All 24 film tasks, on foreign vectors (fitted by other people to MovieLens 25M)", "foreign_base-llm_all"
    ),
    "movielens-own-base-llm-all": _films(
        "The same tasks and user profiles, on our own factors (MovieLens latest-small)", "own_base-llm_all"
    ),
    "movielens-semantic-base-llm-all": _films(
        "The same tasks, on MiniLM embeddings of paragraphs about films", "semantic_base-llm_all"
    ),
    "movielens-foreign-small": Headline(
        "Recovery of genres and decade on foreign vectors, three seeds",
        {
            "recovery of genres": "recovery_genres",
            "its lower bound": "recovery_genres_low",
            "of decade": "recovery_decade",
            "its lower bound ": "recovery_decade_low",
            "SC minus that of the probe, lower bound": "sc_minus_probe_text_low",
        },
    ),
    "semantic": Headline(
        "An LLM of 12 million parameters that learns to write the paragraphs about films",
        {
            "normalised SC": "nsc_semantic_12m",
            "normalised SC of copying": "nsc_semantic_12m_copy_text",
            "R@10": "recall_at_10_semantic_12m",
            "R@10 of copying": "recall_at_10_semantic_12m_copy_text",
        },
    ),
    "smollm2-foreign": _recovery("A pretrained LLM, SmolLM2-135M, foreign vectors, six tasks", "smollm2_foreign"),
    "smollm2-own": _recovery("The same, on our own factors, with user profiles", "smollm2_own"),
    "smollm2-paragraphs": Headline(
        "The same LLM learns to write the paragraphs about films",
        {
            "normalised SC": "nsc_semantic",
            "normalised SC of copying": "nsc_semantic_copy_text",
            "R@10": "recall_at_10_semantic",
            "R@10 of copying": "recall_at_10_semantic_copy_text",
        },
    ),
    "curves-foreign": _curves("Interpolations and concept shifts, foreign vectors", "curves_foreign_film"),
    "curves-own": _curves("Interpolations and concept shifts, our own factors", "curves_own_film"),
    "curves-semantic": _curves("Interpolations and concept shifts, embeddings of paragraphs", "curves_semantic_film"),
    "curves-own-more": _curves("Interpolations between users, after more training on profiles", "curves_own-more_user"),
    "curves-semantic-more": _curves("Concept shifts of paragraphs, after more training", "curves_semantic-more_film"),
    "curves-foreign-told": Headline(
        "Between two films: SmolLM2 that reads the vector, and the same LLM that is told titles, or titles and facts",
        {
            "SC at midpoints": "curves_foreign-told_film_sc_middle_elm",
            "copying": "curves_foreign-told_film_sc_middle_copy_text",
            "told titles": "curves_foreign-told_film_sc_middle_text_llm",
            "told titles and facts": "curves_foreign-told_film_sc_middle_told_llm",
        },
    ),
    "distill-foreign": _distilled("A real LLM, distilled or not: free questions, foreign vectors", "distill_foreign"),
    "distill-own": _distilled("The same, on our own factors", "distill_own"),
    "concepts": Headline(
        "Concept directions: how well they separate held-out films",
        {
            "AUC of genres": "concepts_own_genres_auc",
            "AUC of random labels": "concepts_own_genres_random_auc",
            "AUC of genres, foreign vectors": "concepts_foreign_genres_auc",
        },
    ),
    "support": Headline(
        "How well support recognises vectors that are out of distribution",
        {
            "AUROC, shuffled coordinates, worst space": "support_auroc_shuffled",
            "shifts by 8 standard deviations": "support_auroc_shift",
            "Gaussian vectors": "support_auroc_gaussian",
        },
    ),
    "map": Headline(
        "Empty places of the map: cosine of their vectors with those of held-out films; speed of the page",
        {
            "place": "map_cosine_place",
            "nearest point": "map_cosine_nearest",
            "random film": "map_cosine_random",
            "recovery of genres at places": "map_recovery_genres_place",
            "seconds until 1,000,000 points are drawn": "map_first_s_1000000",
            "the same, library alone": "map_plain_first_s_1000000",
            "frames a second with 100,000 points": "map_fps_100000",
            "the same, library alone ": "map_plain_fps_100000",
        },
    ),
    "candidates": Headline(
        "The best of 8 answers, chosen by read-back, compared with one greedy answer",
        {"gain in SC": "candidates_8_sc_independent_gain", "times as much computing time": "candidates_8_cost"},
    ),
    "names": Headline(
        "Names in answers about viewers, with and without the constraint to titles that exist (the demo's model)",
        {
            "invented": "names_user_profile_names_invented_elm",
            "invented without the constraint": "names_user_profile_names_invented_free_names",
            "right": "names_user_profile_names_right_elm",
            "right by the LLM alone": "names_user_profile_names_right_trie_only",
            "shuffled": "names_user_profile_names_right_shuffled",
            "time of decoding": "names_user_profile_time",
        },
    ),
    "ablation": Headline(
        "Which settings of adapter and training matter: recovery of genres",
        {
            "default": "ablation_base_recovery_genres",
            "linear adapter": "ablation_linear_recovery_genres",
            "only the adapter trained": "ablation_stage_1_only_recovery_genres",
            "500 training films": "ablation_500_films_recovery_genres",
        },
    ),
    "own-data": Headline(
        "The guide for your own data, from start to end, on an invented record shop",
        {"SC": "records_summary_sc_elm", "normalised SC": "records_summary_nsc_elm"},
    ),
    "movielens-foreign-films-12m": _recovery("An earlier run with an LLM of 12 M parameters", "foreign_films-12m"),
    "movielens-own-films-12m": _recovery("The same, on our own factors", "own_films-12m"),
    "movielens-own-small": _recovery("An earlier run with a small LLM, on our own factors", "own_small"),
}
FAST: dict[str, Headline] = {
    "training": Headline("Training: tokens per second, on a CPU with bfloat16, vocabulary of 49k tokens", _STAGES),
    "training-without-bf16": Headline(
        "The same, on a CPU without bfloat16", {label: f"{key}_without_bf16" for label, key in _STAGES.items()}
    ),
    "paths": Headline(
        "How many times as fast each optimisation makes training",
        {
            "batches of similar length": "paths_grouped_films_stage1",
            "shared prefixes": "paths_shared_films_stage1_8",
            "loss in blocks, 152k tokens": "paths_loss_151936_frozen",
        },
    ),
    "memory": Headline(
        "Memory of training, in MB, by number of examples",
        {"ten thousand": "memory_mb_10000_examples", "ten million": "memory_mb_10000000_examples"},
    ),
    "engine": Headline(
        "Batch generation for 20,000 vectors, compared with one `generate` for each vector",
        {
            "times as fast": "ratio_bulk",
            "share of equal texts": "bulk_same_texts",
            "wait for the first token among long answers, divided by that without them": "ratio_first_token",
        },
    ),
    "speed-smollm2": Headline(
        "SmolLM2-135M with a low-rank update, compared with `Trainer` and PEFT, `generate` in batches, and vLLM",
        {
            "training: times as fast as `Trainer`": "ratio_peft_trainer",
            "answers: times as fast as `generate` in batches": "ratio_generate_batched",
            "as vLLM": "ratio_vllm",
            "first token of a chat, in ms": "smollm2_first_token_ms",
        },
    ),
    "vllm": Headline(
        "The same questions with and without vLLM: answers per second",
        {
            "own engine": "vllm_here_rows_per_s",
            "vLLM in process": "vllm_process_rows_per_s",
            "vLLM over HTTP": "vllm_http_rows_per_s",
            "share of equal texts": "vllm_http_same_texts",
        },
    ),
    "serve": _serve("The server: 32 streams at once, first tokens, invented requests, ten minutes of load", ""),
    "serve-smollm2": _serve("The same server with SmolLM2-135M as the LLM", "serve_smollm2_"),
    "startup": Headline(
        "Time from a cold start to an answer",
        {"`import vectalk`, divided by `import numpy`": "ratio_import", "a cold `ask`, in seconds": "ask_cold_s"},
    ),
    "wals": Headline(
        "Our factorisation, compared with the library `implicit`",
        {
            "recall@20": "wals_recall20",
            "recall@20 of `implicit`": "implicit_recall20",
            "times as fast as its exact solver": "ratio_wals_implicit_exact_speed",
        },
    ),
}
