"""Influence in colour: green tokens are more likely with the vector, red ones less likely; others are plain."""

from rich.text import Text

from vectalk.talk import Answer

STEPS = ((2.0, "bold green"), (0.5, "green"), (-0.5, ""), (float("-inf"), "red"))  # nats -> style


def colored(answer: Answer, slot: str) -> Text:
    """Return an answer coloured by the influence of the vector in a slot."""
    assert answer.influence is not None
    text = Text()
    for token, value in zip(answer.influence.tokens, answer.influence.values[slot], strict=True):
        text.append(token, next(style for least, style in STEPS if value >= least))
    return text


def strongest_tokens(answer: Answer, slot: str) -> str:
    """Return the tokens of an answer that depend most on the vector in a slot, with their influence in nats."""
    assert answer.influence is not None
    strongest = answer.influence.strongest(slot)
    return ", ".join(f"{token.strip()!r} {value:+.1f}" for token, value in strongest if token.strip())
