"""A run: questions in order, every side's answer to each, one examination a subject, until all is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from promptguard.certifying.ahead import ahead
from promptguard.certifying.examination import Examination
from promptguard.certifying.expectations import failure, labels_of
from promptguard.certifying.kept import Kept, KeptPair, KeptStep, hashed
from promptguard.certifying.remedies import Remedy
from promptguard.certifying.values import Answered, Question, Side, Source, Stopped, Used, Wish, in_order
from promptguard.drift import LabelRule, vectorise
from promptguard.drift.features.correctness import is_right

_CASE = "case:"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is compared with the reference: a side, with a remedy or as it answers."""

    side: Side
    remedy: Remedy | None = None

    @property
    def name(self) -> str:
        """Names it within a run, such as `triage@4 strip-fence`."""
        return self.side.reference if self.remedy is None else f"{self.side.reference} {self.remedy.name}"


@dataclass(slots=True)
class Found:
    """What a run has found of one subject."""

    subject: Subject
    examination: Examination
    failures: dict[int, str] = field(default_factory=dict)
    """case -> why it failed, "" where it passed"""
    changed: int = 0
    """answers that the remedy changed"""

    @property
    def failed(self) -> list[tuple[int, str]]:
        """The cases that failed, and why."""
        return [(number, why) for number, why in sorted(self.failures.items()) if why]

    @property
    def is_known(self) -> bool:
        """Whether more pairs would change nothing."""
        return self.examination.known is not None or bool(self.failed)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, for who waits."""

    pairs: int
    questions: int
    usd: float
    left: int | None
    """pairs that are still needed, about; None while that cannot be told"""
    cases: tuple[int, int] | None = None
    """while the file's cases are looked at: how many have been, and how many there are"""


@dataclass(slots=True)
class Course:
    """A run and what it has come to.

    Attributes:
        reference: the side that the others are compared with
        found: one a subject, in their order
        used: calls, money and the models that answered
        tokens: of each side, those of questions and answers, and how many answers they are of
        missing: questions to which some side has no answer
        reference_failures: cases that the reference fails as well
        ended: why it ended before all was known; None where it did not
        resumable: whether the same run can go on later
        resumed: pairs that were there before
    """

    reference: Side
    found: list[Found]
    used: Used = field(default_factory=Used)
    tokens: dict[str, list[int]] = field(default_factory=dict)
    missing: int = 0
    reference_failures: dict[int, str] = field(default_factory=dict)
    ended: str | None = None
    resumable: bool = False
    resumed: int = 0


class Run:
    """Carries out a run.

    Parameters: `source` gives answers; `kept` has what an earlier part of the same run came to, and takes more;
    `told` is called after every question; `at_once` questions are asked at a time.
    """

    def __init__(
        self,
        reference: Side,
        subjects: Sequence[Subject],
        questions: Sequence[Question],
        wish: Wish,
        source: Source,
        *,
        kept: Kept | None = None,
        told: Callable[[Progress], None] = lambda _: None,
        at_once: int = 1,
    ) -> None:
        self._questions = in_order(questions, wish.seed)
        self._cases = [each for each in questions if each.case is not None]
        with_right = bool(questions) and all(each.reference is not None for each in questions)
        self._labels: LabelRule | None = labels_of(reference.prompt)
        self._wish, self._source, self._kept, self._told, self._at_once = wish, source, kept, told, at_once
        self._answers: dict[tuple[str, str, str], Answered] = {}
        self._with_right = with_right
        self.course = Course(
            reference,
            [Found(each, Examination(wish, self._labels, with_right=with_right)) for each in subjects],
        )

    def go(self) -> Course:
        """Run to the end, and return what was found."""
        course = self.course
        done = self._restored()
        try:
            self._look_at_cases(done)
            self._compare(done)
        except Stopped as stop:
            course.ended, course.resumable = str(stop), stop.resumable
        if course.ended is None and not self._all_known:
            course.ended, course.resumable = "no more questions", True
        return course

    @property
    def _all_known(self) -> bool:
        return all(each.is_known for each in self.course.found)

    @property
    def _sides(self) -> list[Side]:
        """The sides still to be asked: the reference, and those of which not all is known."""
        wanted = [each.subject.side for each in self.course.found if not each.is_known]
        return list(
            {(side.reference, side.model): side for side in [self.course.reference, *wanted]}.values()
        )

    # -- cases

    def _look_at_cases(self, done: set[str]) -> None:
        waiting = [each for each in self._cases if _name_of_case(each) not in done]
        steps = ahead(waiting, self._case_looked_at, self._at_once)
        try:
            for place, step in enumerate(steps, len(self._cases) - len(waiting) + 1):
                self._take(step)
                if step.failures:
                    self._write(step)
                self._told(replace(self._progress(), cases=(place, len(self._cases))))
                if self._all_known:
                    return
        finally:
            steps.close()

    def _case_looked_at(self, question: Question) -> KeptStep:
        step = KeptStep(_name_of_case(question))
        if question.case is None:
            return step
        number = question.case.number
        for found in self.course.found:
            answered = self._asked(found.subject.side, question, step)
            if answered is None or answered.answer.error is not None:
                continue  # what is missing has not failed
            treated = _treated(answered, found.subject.remedy)
            why = failure(found.subject.side.prompt, question.case, treated.answer)
            step.failures[found.subject.name] = f"{number}:{why or ''}"
        if any(told.partition(":")[2] for told in step.failures.values()):
            answered = self._asked(self.course.reference, question, step)
            if answered is not None and answered.answer.error is None:
                why = failure(self.course.reference.prompt, question.case, answered.answer)
                step.failures[""] = f"{number}:{why or ''}"
        return step

    # -- pairs

    def _compare(self, done: set[str]) -> None:
        waiting = [question for question in self._questions if hashed(question.key) not in done]
        steps = ahead(waiting, self._answered_by_all, self._at_once)
        try:
            while not self._all_known:
                step = next(steps, None)
                if step is None:
                    return
                self._take(step)
                if not step.pairs:
                    self.course.missing += 1
                    continue
                self._write(step)
                self._told(self._progress())
        finally:
            steps.close()

    def _answered_by_all(self, question: Question) -> KeptStep:
        step = KeptStep(hashed(question.key))
        control = self._asked(self.course.reference, question, step)
        if control is None:
            return step
        for found in self.course.found:
            if found.is_known:
                continue
            candidate = self._asked(found.subject.side, question, step)
            if candidate is not None:
                treated = _treated(candidate, found.subject.remedy)
                pair = self._paired(question, control, treated)
                step.pairs[found.subject.name] = replace(pair, changed=treated is not candidate)
        return step

    def _paired(self, question: Question, control: Answered, candidate: Answered) -> KeptPair:
        lost = (control.answer.error is not None, candidate.answer.error is not None)
        if any(lost):
            return KeptPair(
                None, lost={(True, False): "control", (False, True): "candidate"}.get(lost, "both")
            )
        sides = [replace(each.answer, latency_s=None) for each in (control, candidate)]
        vector = vectorise(sides[0], sides[1], labels=self._labels).features_only()
        wanted = question.reference
        if not self._with_right or wanted is None:
            return KeptPair(vector)
        right = [is_right(each.text, name, wanted) for each, name in zip(sides, vector.labels, strict=True)]
        return KeptPair(vector, (right[0], right[1]))

    def _asked(self, side: Side, question: Question, step: KeptStep) -> Answered | None:
        """Return a side's answer, asked for once."""
        who = name_of_side(side)
        place = (side.reference, side.model, question.key)
        known = self._answers.get(place)
        if known is None:
            known = self._source.answer(side, question)
            if known is None:
                return None
            step.calls += known.was_asked
            step.usd += known.usd
            if question.case is not None:
                self._answers[place] = known
            if known.served and known.served not in step.served.setdefault(who, []):
                step.served[who].append(known.served)
            answer = known.answer
            if answer.error is None and answer.output_tokens is not None:
                tokens = step.tokens.setdefault(who, [0, 0, 0])
                tokens[0] += known.input_tokens or 0
                tokens[1] += int(answer.output_tokens)
                tokens[2] += 1
        return known

    # -- what is known

    def _take(self, step: KeptStep) -> None:
        course = self.course
        course.used.calls += step.calls
        course.used.usd += step.usd
        for who, models in step.served.items():
            known = course.used.served.setdefault(who, [])
            known += [model for model in models if model not in known]
        for who, counts in step.tokens.items():
            course.tokens[who] = [
                a + b for a, b in zip(course.tokens.get(who, (0, 0, 0)), counts, strict=True)
            ]
        for found in course.found:
            name = found.subject.name
            if name in step.failures:
                number, _, why = step.failures[name].partition(":")
                found.failures[int(number)] = why
            pair = step.pairs.get(name)
            if pair is not None and not found.is_known:
                _fold(found.examination, pair)
                found.changed += pair.changed
        if "" in step.failures:
            number, _, why = step.failures[""].partition(":")
            course.reference_failures[int(number)] = why

    def _restored(self) -> set[str]:
        steps = [] if self._kept is None else self._kept.steps()
        for step in steps:
            self._take(step)
        self.course.resumed = sum(bool(step.pairs) for step in steps)
        return {step.key for step in steps}

    def _write(self, step: KeptStep) -> None:
        if self._kept is not None and step.calls:
            self._kept.add(step)

    def _progress(self) -> Progress:
        open_ones = [each.examination for each in self.course.found if not each.is_known]
        left: int | None = None
        with suppress(TypeError, ValueError):
            left = max((each.left for each in open_ones), default=0)  # type: ignore[type-var]
        pairs = max(each.examination.pairs for each in self.course.found)
        return Progress(pairs, len(self._questions), self.course.used.usd, left)


def _name_of_case(question: Question) -> str:
    return f"{_CASE}{0 if question.case is None else question.case.number}"


def name_of_side(side: Side) -> str:
    """Return how sums call a side, such as `triage@3/gpt-5.1`."""
    return f"{side.reference}/{side.model}"


def _fold(examination: Examination, pair: KeptPair) -> None:
    if pair.vector is None:
        examination.lose(pair.lost or "both")
    else:
        examination.take(pair.vector, pair.right)


def _treated(answered: Answered, remedy: Remedy | None) -> Answered:
    if remedy is None or answered.answer.error is not None:
        return answered
    text = remedy.of(answered.answer.text)
    return (
        answered
        if text == answered.answer.text
        else replace(answered, answer=replace(answered.answer, text=text))
    )
