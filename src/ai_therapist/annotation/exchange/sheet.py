"""What goes into a file for people: the turns of a session, and as much of others' answers as may be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ai_therapist.annotation.review import Question
from ai_therapist.records import Annotation, Role, Session, Task, Utterance


@dataclass(frozen=True)
class Sheet:
    """One session with its questions."""

    session: Session
    turns: Sequence[Utterance]
    questions: Sequence[Question]
    rater: str | None = None
    """Whom the file is for: it shows no other person's answers. None for a file with everybody's."""
    blind: bool = False
    """The models' answers are left out."""

    def question(self, turn: Utterance, task: Task) -> Question | None:
        """The question about a turn; None where the task is not asked of its speaker."""
        return next((one for one in self.questions if one.turn.id == turn.id and one.task is task), None)

    def role(self, turn: Utterance) -> Role:
        """Who speaks."""
        return self.session.role_of(turn.speaker)

    def raters(self) -> tuple[str, ...]:
        """Whose answers the file holds, in order."""
        if self.rater is not None:
            return (self.rater,)
        found = {given.provenance.rater or "" for question in self.questions for given in question.standing}
        return tuple(sorted(found))

    def votes(self, question: Question) -> tuple[Annotation, ...]:
        """The models' answers that may be seen."""
        return () if self.blind else question.votes


TASKS = (Task.EMOTION, Task.STRATEGY)
"""What people label, in the order of columns and tiers."""
