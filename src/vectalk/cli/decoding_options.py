"""The decoding options of the verbs; an option that is not given is None, and the run or the LLM supplies its value."""

from typing import Annotated, Any

import typer

Sample = Annotated[
    bool,
    typer.Option(
        "--sample",
        help="Sample as the LLM recommends (temperature, top_p, top_k, ...), where you give no option; without a "
        "recommendation at temperature 1.",
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option("--temperature", help="Randomness of sampling; 0 (the default) takes the most likely token (greedy)."),
]
TopP = Annotated[
    float | None,
    typer.Option(
        "--top-p", help="Sample from the most likely tokens that hold this share of the probability; default 1."
    ),
]
TopK = Annotated[
    int | None,
    typer.Option("--top-k", help="Sample from this number of most likely tokens; 0 (the default) for all."),
]
MinP = Annotated[
    float | None,
    typer.Option(
        "--min-p",
        help="Sample from tokens with at least this share of the probability of the most likely one; default 0.",
    ),
]
RepetitionPenalty = Annotated[
    float | None,
    typer.Option(
        "--repetition-penalty",
        help="Above 1, tokens that the answer already has become less likely. Default: what the run stores, else 1.",
    ),
]
NoRepeatNgramSize = Annotated[
    int | None,
    typer.Option(
        "--no-repeat-ngram-size",
        help="No sequence of this number of tokens appears twice in an answer; 0 is no limit. Default: what the run "
        "stores, else 0.",
    ),
]


def without_none(**options: Any) -> dict[str, Any]:
    """Return the options that were given on the command line."""
    return {name: value for name, value in options.items() if value is not None}
