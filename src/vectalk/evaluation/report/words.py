"""Texts of the report: explanations of metrics, conditions, curves and limits."""

from __future__ import annotations

METRICS = {  # metric -> (name, question that the metric answers, how it is measured)
    "sc": (
        "Semantic consistency (SC)",
        "Does the answer describe the vector of the question?",
        "A frozen map, fitted only on reference texts, maps the answer back to a vector. SC is the cosine between this "
        "vector and the vector of the question. 1 means the same direction, 0 means no relation.",
    ),
    "nsc": (
        "Normalised SC",
        "How close is the answer to the entity's own reference text?",
        "SC on a scale where the shuffled control is 0 and the entity's own reference text is 1. On this scale, "
        "results with different text encoders can be compared.",
    ),
    "recall@10": (
        "Retrieval (R@10)",
        "Can the answer identify the entity?",
        "Share of answers whose read-back vector has the right entity among its 10 nearest test vectors.",
    ),
    "bc_auc": (
        "Behaviour (AUC)",
        "Does the answer predict what users do?",
        "Area under the ROC curve: how often a pair with a held-out rating scores above a pair without a rating, when "
        "only the answer is used. 0.5 is chance. The score of the vector itself is the ceiling.",
    ),
    "recovery": (
        "Recovery",
        "How many of the facts in the vector reach the answer?",
        "How well attributes can be read from the answer: 0 is the majority baseline, 1 is a probe fitted directly to "
        "the vectors. The value is a mean over attributes. It counts an attribute only if the probe significantly "
        "beats the majority baseline, because the vector may not contain other attributes.",
    ),
    "claims_precision": (
        "Precision of statements",
        "Are the statements of the answer true?",
        "Share of the checked statements that agree with the metadata.",
    ),
    "claims_recall": (
        "Recall of statements",
        "Does the answer state what the reference text states?",
        "Share of the true values that the answer states, for attributes that the reference text mentions.",
    ),
    "names_invented": (
        "Invented names",
        "Do the titles in the answer exist?",
        "Share of the named titles that are in no space of the corpus. Lower is better.",
    ),
    "names_right": (
        "Right names",
        "Do the facts allow the titles in the answer?",
        "Share of the named titles that the facts list for the entity, such as its nearest training entities.",
    ),
    "distinct": (
        "Distinct answers",
        "Do different vectors get different answers?",
        "Number of different texts over all texts.",
    ),
    "self_bleu": (
        "Similarity of answers (self-BLEU)",
        "How formulaic are the answers?",
        "Mean BLEU-4 of each text against all others; compare it with the reference texts. Lower means more variety.",
    ),
    "loops": (
        "Looping answers",
        "Does the answer say the same words again and again?",
        "Share of answers with a phrase three times or more in a row, or a sentence twice. Lower is better.",
    ),
}
LOWER_IS_BETTER = ("names_invented", "self_bleu", "loops")
CONDITIONS = {
    "elm": ("the model", "the model and the right vector"),
    "shuffled": (
        "another vector",
        "control: the same model and question with the vector of another entity; shows what fluent text alone reaches",
    ),
    "mean": (
        "the mean vector",
        "control: the same model with the mean vector of the space; shows what typical answers reach",
    ),
    "gaussian": (
        "random vector",
        "control: the same model with random vectors of the same mean and covariance as the space",
    ),
    "majority": ("majority", "baseline: a text written from the best constant values"),
    "copy_text": ("nearest text", "baseline: a copy of the reference text of the nearest training entity"),
    "vote_text": ("vote", "baseline: a text written from the votes of the 15 nearest training entities"),
    "probe_text": (
        "probe",
        "baseline: a text written from the values that a probe reads; no language model",
    ),
    "own_text": (
        "reference",
        "the entity's own reference text, written from the facts, not from the vector",
    ),
    "trie_only": ("names by the LLM", "the model, with names that exist, chosen by the LLM alone"),
    "knn_names": ("nearest names", "the model, with the names that are most similar to the vector"),
    "free_names": ("free names", "the model without any constraint on names"),
    "stage1": ("first stage", "the model after the first stage of training"),
    "text_llm": ("LLM with titles", "baseline: a language model that reads titles instead of vectors"),
    "told_llm": (
        "LLM with titles and facts",
        "baseline: a language model that reads titles and facts in words instead of vectors",
    ),
    "probe": ("values of the probe", "values that the probe reads from the vector, scored without writing a text"),
    "popularity": ("popularity", "baseline: the number of ratings of each item, the same for all users"),
    "factors": ("the vector itself", "ceiling: the metric computed from the vector, without a text"),
    "random": ("random concept", "control: directions fitted to randomly chosen entities"),
    "vector": ("the vector itself", "the metric computed from the vector, without a text"),
}
CURVES = {
    "interpolation": (
        "Between two entities",
        "The model is asked about points on the straight line between two test entities. The model has seen neither "
        "these entities nor the points. Its answers should describe each point, and change from one end to the other.",
    ),
    "shift": (
        "Along a concept",
        "Test entities are moved along the direction of a concept, in steps of one standard deviation. Answers should "
        "gain or lose the value of the concept, and keep the other values. Directions fitted to random entities show "
        "the effect of moving alone.",
    ),
    "cold_start": (
        "With the first ratings of a user",
        "The vector of a test user is computed from only a few of the user's ratings. The profile that the model "
        "writes from this vector is compared with all known data of the user.",
    ),
}
LIMITS = (
    "All figures use held-out test entities, greedy decoding and one answer per question. The 95 % bootstrap intervals "
    "are over these entities. Another training seed also changes the figures; the intervals do not include that.",
    "Fluent text proves nothing. Compare the model with answers about another vector, with a copy of the nearest text "
    "and with texts written from a probe.",
    "The read-back only measures what its encoder and the reference texts contain. If the R2 of the read-back is "
    "small, SC says little.",
    "Only statements that the suite can read are checked. Other content of a text is not checked.",
    "A vector contains only what its training data contain. Plots, names and opinions in an answer usually come from "
    "the language model, not from the vector.",
    "The model also answers with confidence when a vector is out of distribution. Check the support of such points.",
)
