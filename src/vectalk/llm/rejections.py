"""`Rejections`: replies that could not be used; where one fault comes again and again, nothing more is paid for."""

from __future__ import annotations

from vectalk.errors import TeacherError
from vectalk.llm.replies import Reply

PATIENCE = 5  # faults in a row that stop the work
PROVEN = 5  # times as many do where a reply was good before
SHOWN = 300  # signs of a rejected reply that are shown


class RejectedError(TeacherError):
    """Reply after reply was rejected, all for one reason."""


class Rejections:
    """Counts rejected replies, and stops the work where too many in a row have the same fault.

    Args:
        name: of the LLM.
        patience: how many in a row stop the work, five times as many once a reply was good; 0 never stops it.
        reply_limit: most tokens of a reply.
    """

    def __init__(self, name: str, patience: int, reply_limit: int) -> None:
        self.name, self.patience, self.reply_limit = name, patience, reply_limit
        self._reason, self._count, self._accepted = "", 0, False
        self._stopped: RejectedError | None = None

    def accept(self) -> None:
        """Count a reply that was good."""
        self._count, self._accepted, self._stopped = 0, True, None

    def reject(self, reason: str, reply: Reply) -> None:
        """Count a reply that could not be used.

        Raises:
            RejectedError: it is one of too many in a row with this fault; the message shows it.
        """
        self._count = self._count + 1 if reason == self._reason else 1
        self._reason = reason
        most = self.patience * (PROVEN if self._accepted else 1)
        if self.patience and self._count >= most and self._stopped is None:
            hint = self.hint(reply)
            self._stopped = RejectedError(
                f"{self._count} answers of {self.name} in a row could not be used, all for one reason: {reason}"
                f"{f' ({hint})' if hint else ''}; nothing more is asked. The last one: {shown(reply)}. Change the "
                "LLM, its settings or the task; with --patience 0 all are asked, whatever comes"
            )
        if self._stopped is not None:  # others that were on their way fail for the same reason
            raise self._stopped

    def hint(self, reply: Reply) -> str:
        """Return what helps against the way in which a reply ended, or nothing."""
        if reply.finish != "length":
            return ""
        raise_it = f"raise max_reply_tokens, {self.reply_limit} now"
        if reply.reasoning:  # which not every endpoint counts
            return f"{raise_it}, or turn its reasoning off"
        if reply.counted and reply.reply_tokens < self.reply_limit:
            return f"the LLM's context was full after {reply.reply_tokens} tokens of reply: shorten what it is told"
        return raise_it


def shown(reply: Reply) -> str:
    """Return the beginning of what an LLM said, in one line."""
    said, how = (reply.text, "") if reply.text.strip() else (reply.refusal, "it refused: ")
    if not said.strip():
        said, how = reply.reasoning, "no text, only reasoning: "
    line = " ".join(said.split())
    return f"{how}“{line[:SHOWN]}{'…' if len(line) > SHOWN else ''}”" if line else "it is empty"
