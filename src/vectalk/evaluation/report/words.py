"""What the report says in plain words: metrics, conditions, curves, limits."""

from __future__ import annotations

METRICS = {  # metric -> (name, question that it answers, how it is measured)
    "sc": (
        "Semantic consistency (SC)",
        "Does the answer speak of the vector that was asked about?",
        "A frozen map, fitted on reference texts alone, reads the answer back into a vector; SC is the cosine between "
        "that one and the one asked about. 1 is the same direction, 0 is no relation.",
    ),
    "nsc": (
        "Normalised SC",
        "How much of what the reference text would reach?",
        "SC where the shuffled control is 0 and the entity's own reference text is 1, so that text encoders compare.",
    ),
    "recall@10": (
        "Found again (R@10)",
        "Could one pick the entity out by its answer?",
        "Share of answers whose read-back has its own vector among the 10 nearest of all test vectors.",
    ),
    "bc_auc": (
        "Behaviour (AUC)",
        "Does the answer predict what people do?",
        "How often someone who did (held-out ratings) is scored above someone who did not, by the answer alone; 0.5 is "
        "chance. What the vector itself gives is the ceiling.",
    ),
    "recovery": (
        "Recovery",
        "How many of the facts in the vector reach the answer?",
        "How well attributes can be read from the answer: 0 is the best constant guess, 1 is a probe fitted directly "
        "to the vectors. Mean over attributes; those that the probe does not surely read better than the guess are not "
        "counted, since the vector may not hold them.",
    ),
    "claims_precision": (
        "True statements",
        "Is what it says true?",
        "Share of the checkable statements in the answers that the metadata bear out.",
    ),
    "claims_recall": (
        "Told",
        "Does it say what there is to say?",
        "Share of the true values told, of the attributes that the reference text speaks of.",
    ),
    "titles_unknown": (
        "Invented titles",
        "Do the titles that it names exist?",
        "Share of the named titles that are in no space of the corpus. Lower is better.",
    ),
    "distinct": ("Distinct answers", "Does it say the same of everything?", "Share of texts that no other has."),
    "self_bleu": (
        "Alike",
        "How formulaic are the answers?",
        "Mean overlap (BLEU-4) of each text with all others; compare with the reference texts. Lower is more varied.",
    ),
}
LOWER_IS_BETTER = ("titles_unknown", "self_bleu")
CONDITIONS = {
    "elm": ("the model", "asked about the right vector"),
    "shuffled": ("another vector", "the same model and question, another entity's vector: what fluency is worth"),
    "mean": ("the mean vector", "the same model, the mean of the space: what habit is worth"),
    "gaussian": ("nobody", "the same model, random vectors with the space's mean and covariance"),
    "majority": ("constant guess", "the best constant values, spelled out"),
    "copy_text": ("nearest text", "the reference text of the nearest training entity, copied"),
    "vote_text": ("vote", "values voted by the 15 nearest training entities, spelled out"),
    "probe_text": ("probe", "values that a probe reads from the vector, spelled out: no language model"),
    "own_text": ("reference", "the entity's own reference text, which is written from the facts, not from the vector"),
    "stage1": ("first stage", "the model as the first stage of training left it"),
    "text_llm": ("told the title", "a language model that is told titles instead of vectors"),
    "probe": ("probe's values", "values that the probe reads from the vector, never spelled out"),
    "popularity": ("popularity", "how many rated each item, the same for everybody"),
    "factors": ("the vector itself", "no text between: the ceiling of this measure"),
    "random": ("random concept", "the same, along directions fitted to random entities"),
    "vector": ("the vector itself", "no text between"),
}
CURVES = {
    "interpolation": (
        "Between two entities",
        "The model is asked about points on the straight line between two test entities, none of which anybody has "
        "seen. Its answers should let go of one end and take hold of the other, and speak of each point on the way.",
    ),
    "shift": (
        "Along a concept",
        "Test entities are moved along a direction that means something, in steps of a standard deviation. What the "
        "direction names should come and go in the answers, and other attributes should stay. Directions fitted to "
        "random entities show what moving does by itself.",
    ),
    "cold_start": (
        "As ratings come in",
        "Test users are folded into the space from a few of their ratings only. The profile written from this little "
        "is judged by all that is known of them.",
    ),
}
LIMITS = (
    "All figures are of held-out test entities, greedy decoding and one answer a question, with bootstrap 95 % "
    "intervals over these entities. Another seed of training moves figures too, and no interval here says by how much.",
    "Fluent text proves nothing. What counts is the distance to answers about another vector, and whether copying the "
    "nearest text or spelling out a probe would have done as well.",
    "The read-back sees what its encoder and the reference texts hold; where its R2 is small, SC can say little.",
    "Checked statements are those that the suite can read; what else a text says is not checked.",
    "A vector says nothing of what did not shape it: plot, names and opinions in an answer are habit, not knowledge.",
    "Far from real entities the model still answers with confidence; look at the support of such points.",
)
