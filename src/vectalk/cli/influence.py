"""Influence in colour: what the vector calls for is green, what it speaks against is red, habit is plain."""

from rich.text import Text

from vectalk.talk import Answer

STEPS = ((2.0, "bold green"), (0.5, "green"), (-0.5, ""), (float("-inf"), "red"))  # nats -> style


def colored(answer: Answer, slot: str) -> Text:
    """Return an answer coloured by the influence of the vector in a slot."""
    assert answer.influence is not None
    shown = Text()
    for token, value in zip(answer.influence.tokens, answer.influence.values[slot], strict=True):
        shown.append(token, next(style for least, style in STEPS if value >= least))
    return shown


def told(answer: Answer, slot: str) -> str:
    """Return the words of an answer that a vector calls for most, with their nats."""
    assert answer.influence is not None
    strongest = answer.influence.strongest(slot)
    return ", ".join(f"{token.strip()!r} {value:+.1f}" for token, value in strongest if token.strip())
