"""`Rejections`: counts replies that could not be used, and stops the work if the same fault repeats."""

from __future__ import annotations

from vectalk.errors import TeacherError
from vectalk.llm.replies import Reply

PATIENCE = 5  # consecutive faults that stop the work
PROVEN = 5  # the limit is multiplied by this once a reply could be used
EXCERPT = 300  # characters of a rejected reply in a message


class RejectedError(TeacherError):
    """Several consecutive replies were rejected for the same reason."""


class Rejections:
    """Counts rejected replies, and stops the work if too many consecutive ones have the same fault.

    Args:
        name: name of the LLM.
        patience: number of consecutive replies that stops the work, five times as many once a reply could be used; 0
            for no limit.
        reply_limit: longest reply, in tokens.
    """

    def __init__(self, name: str, patience: int, reply_limit: int) -> None:
        self.name, self.patience, self.reply_limit = name, patience, reply_limit
        self._reason, self._count, self._accepted = "", 0, False
        self._stopped: RejectedError | None = None

    def accept(self) -> None:
        """Count a reply that could be used."""
        self._count, self._accepted, self._stopped = 0, True, None

    def reject(self, reason: str, reply: Reply) -> None:
        """Count a reply that could not be used.

        Raises:
            RejectedError: too many consecutive replies have this fault; the message shows the last one.
        """
        self._count = self._count + 1 if reason == self._reason else 1
        self._reason = reason
        most = self.patience * (PROVEN if self._accepted else 1)
        if self.patience and self._count >= most and self._stopped is None:
            hint = self.hint(reply)
            self._stopped = RejectedError(
                f"{self._count} answers of {self.name} in a row could not be used, all for one reason: {reason}"
                f"{f' ({hint})' if hint else ''}; no further requests are sent. The last answer: {excerpt(reply)}. "
                "Change the LLM, its settings or the task; --patience 0 sends all requests in any case"
            )
        if self._stopped is not None:  # pending requests fail for the same reason
            raise self._stopped

    def hint(self, reply: Reply) -> str:
        """Return what to do if a reply was cut off; "" if it was not."""
        if reply.finish != "length":
            return ""
        fix = f"raise max_reply_tokens, {self.reply_limit} now"
        if reply.reasoning:  # not every endpoint counts these tokens
            return f"{fix}, or turn its reasoning off"
        if reply.counted and reply.reply_tokens < self.reply_limit:
            return f"the LLM's context was full after {reply.reply_tokens} tokens of reply: shorten the prompt"
        return fix


def excerpt(reply: Reply) -> str:
    """Return the beginning of a reply, in one line."""
    text, kind = (reply.text, "") if reply.text.strip() else (reply.refusal, "it refused: ")
    if not text.strip():
        text, kind = reply.reasoning, "no text, only reasoning: "
    line = " ".join(text.split())
    return f"{kind}“{line[:EXCERPT]}{'…' if len(line) > EXCERPT else ''}”" if line else "it is empty"
