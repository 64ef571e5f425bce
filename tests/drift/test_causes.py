"""What is said to have changed: only what moved, causes before by-products, of the group that changed."""

from __future__ import annotations

import random

import pytest

from promptguard.drift import Answer, PairMonitor, vectorise
from promptguard.drift.explain.causes import LEVEL, may_be_said
from promptguard.drift.features.catalogue import INDEX, SCALE
from promptguard.verdict import Verdict

WORDS = [
    "the", "model", "answer", "prime", "number", "divisor", "because", "therefore", "first", "then", "check", "whether",
    "it", "is", "so", "and", "two", "of", "them", "are", "not",
]  # fmt: skip


def text(dice: random.Random, words: int = 30) -> str:
    return " ".join(dice.choices(WORDS, k=dice.randint(words // 2, words))).capitalize() + "."


def judged(pairs: list[tuple[str, str]]) -> Verdict:
    monitor = PairMonitor(alpha=0.01)
    for control, candidate in pairs:
        monitor.update(Answer(control), Answer(candidate))
    return monitor.explain()


def test_the_level_is_kept_where_one_thing_moves_and_all_others_are_noise() -> None:
    """Fences come in two thirds of the answers; both texts are drawn anew, so that all other features are noise."""
    wrong = said = 0
    for seed in range(40):
        dice = random.Random(seed)
        pairs = []
        for _ in range(60):
            # the fence takes the place of two words at either end: length and lines move with it, and nothing else does
            candidate = text(dice)
            pairs.append((text(dice), f"```\n{candidate}\n```" if dice.random() < 0.66 else candidate))
        moved = {
            "code_fence", "starts_with_fence", "lines", "words_per_line", "length", "starts_upper", "punctuation",
            "ends_with_punctuation", "upper_case", "type_token", "word_length", "sentence_length", "wording",
        }  # fmt: skip
        told = judged(pairs).changes
        said += len(told)
        wrong += sum(change.feature not in moved for change in told)
    assert said >= 40
    assert wrong / said <= LEVEL


def test_below_the_level_nothing_is_said_but_which_pairs_to_look_at() -> None:
    dice = random.Random(5)
    monitor = PairMonitor(alpha=0.5)  # an alarm after two pairs proves nothing about any one feature
    while monitor.brief().alarm_at is None if monitor.pairs else True:
        monitor.update(Answer(text(dice)), Answer(text(dice, 16)))
    verdict = monitor.explain()
    assert verdict.status == "drift"
    assert verdict.changes == ()
    assert 1 <= len(verdict.examples) <= 2
    assert "a difference, cause not yet clear (see pair" in verdict.sentence()


def test_what_may_be_said_is_e_bh() -> None:
    from math import log

    assert may_be_said([log(100.0), log(1.0)], 0.05) == [True, False]
    assert may_be_said([log(30.0), log(1.0)], 0.05) == [False, False]
    assert may_be_said([log(25.0), log(21.0)], 0.05) == [True, True]
    assert may_be_said([log(25.0), log(19.0)], 0.05) == [False, False]
    assert may_be_said([], 0.05) == []


def test_what_a_shrinking_text_loses_comes_after_the_shrinking() -> None:
    dice = random.Random(3)
    pairs = [
        (
            f"1. First, {text(dice, 60)}\n2. Then, {text(dice, 60)}\n\nSo [Yes]",
            "[No]" if dice.random() < 0.9 else "[Yes]",
        )
        for _ in range(30)
    ]
    verdict = judged(pairs)
    assert verdict.changes[0].feature == "length"
    assert "answers shrank" in verdict.sentence()


@pytest.mark.parametrize(
    ("edit", "feature"),
    [
        (lambda answer: answer.replace("\n", "\r\n"), "carriage_returns"),
        (lambda answer: answer + "\n", "outer_space"),
        (lambda answer: answer.replace(" ", "  ", 3), "inner_space"),
        (lambda answer: answer.replace('"', "\u201c", 1).replace('"', "\u201d", 1), "curly_quotes"),
    ],
)
def test_white_space_line_ends_and_quotes_are_named(edit, feature: str) -> None:
    dice = random.Random(1)
    answers = [f'He said "{text(dice)}"\n{text(dice)}' for _ in range(40)]
    told = [change.feature for change in judged([(answer, edit(answer)) for answer in answers]).changes]
    assert feature in told[:2], told


REFUSALS = {
    "English": "I'm sorry, but I can't help with that.",
    "German": "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "Spanish": "Lo siento, pero no puedo ayudar con eso.",
    "French": "Je suis désolé, mais je ne peux pas répondre à cette demande.",
    "Chinese": "抱歉，我无法协助您完成这个请求。",
    "Japanese": "申し訳ありませんが、そのご質問にはお答えできません。",
    "Hindi": "क्षमा करें, मैं इसमें आपकी सहायता नहीं कर सकता।",
    "Arabic": "آسف، لا أستطيع مساعدتك في هذا الطلب.",
    "Portuguese": "Desculpe, mas não posso ajudar com isso.",
    "Russian": "Извините, но я не могу помочь с этим.",
}
ANSWERS = {
    "English": "The capital of France is Paris; a train gets you there in two hours.",
    "German": "Die Hauptstadt von Frankreich ist Paris, und mit dem Zug ist man in zwei Stunden da.",
    "Spanish": "La capital de Francia es París, y en tren se llega en dos horas.",
    "French": "La capitale de la France est Paris, à deux heures de train.",
    "Chinese": "法国的首都是巴黎，坐火车两个小时就到。",
    "Japanese": "フランスの首都はパリで、電車で二時間です。",
    "Hindi": "फ़्रांस की राजधानी पेरिस है, और ट्रेन से दो घंटे लगते हैं।",
    "Arabic": "عاصمة فرنسا هي باريس، ويصل القطار إليها في ساعتين.",
    "Portuguese": "A capital da França é Paris, a duas horas de trem.",
    "Russian": "Столица Франции — Париж, на поезде туда два часа.",
}


@pytest.mark.parametrize("language", REFUSALS)
def test_refusals_are_known_in_ten_languages(language: str) -> None:
    vector = vectorise(Answer(ANSWERS[language]), Answer(REFUSALS[language]))
    place = INDEX["refusal"]
    assert (int(vector.control[place]), int(vector.candidate[place])) == (0, SCALE)


@pytest.mark.parametrize("seed", range(5))
def test_in_a_fleet_the_sentence_is_of_the_group_that_changed(seed: int) -> None:
    dice = random.Random(seed)
    changed = f"prompt-{dice.randrange(60)}"
    monitor = PairMonitor(0.01, "monitor", horizon=6000)
    for _ in range(40):
        for number in range(60):
            name, answer, other = f"prompt-{number}", text(dice), text(dice)
            monitor.fold(
                vectorise(Answer(answer), Answer(f"**{other}**" if name == changed else other)), name
            )
    verdict = monitor.explain()
    assert verdict.named == (changed,)
    assert verdict.speaks_of == changed
    assert "bold" in [change.feature for change in verdict.changes[:2]]
    assert verdict.sentence().startswith(f"In {changed} (one of 60 groups), since about pair ")
    assert Verdict.from_dict(verdict.to_dict()).sentence() == verdict.sentence()


def test_where_all_groups_changed_the_sentence_is_of_all() -> None:
    dice = random.Random(2)
    monitor = PairMonitor(0.01, "monitor", horizon=6000)
    for _ in range(40):
        for number in range(6):
            monitor.fold(vectorise(Answer(text(dice)), Answer(f"**{text(dice)}**")), f"prompt-{number}")
    verdict = monitor.explain()
    assert len(verdict.named) > 3
    assert verdict.speaks_of is None
    assert verdict.sentence().startswith("Since about pair ")


def test_a_group_that_may_not_be_named_yet_speaks_for_all_where_it_holds_nearly_all_evidence() -> None:
    dice = random.Random(4)
    monitor = PairMonitor(0.01, "monitor", horizon=60_000)
    while not monitor.pairs or monitor.brief().alarm_at is None:
        for number in range(60):
            candidate = text(dice)
            vector = vectorise(Answer(text(dice)), Answer(f"**{candidate}**" if number == 7 else candidate))
            monitor.fold(vector, f"prompt-{number}")
    verdict = monitor.explain()
    assert verdict.named == ()
    assert verdict.speaks_of == "prompt-7"
    assert "of 60 groups the one with nearly all evidence" in verdict.sentence()


def test_a_stricter_level_says_less_and_touches_no_alarm() -> None:
    dice = random.Random(11)
    pairs = [(text(dice), f"```\n{text(dice)}\n```") for _ in range(40)]
    usual, strict = PairMonitor(alpha=0.01), PairMonitor(alpha=0.01, cause_error=1e-15)
    for control, candidate in pairs:
        usual.update(Answer(control), Answer(candidate))
        strict.update(Answer(control), Answer(candidate))
    assert usual.brief() == strict.brief()
    assert usual.explain().changes
    assert not strict.explain().changes
    assert not PairMonitor.from_state(strict.state_dict()).explain().changes


@pytest.mark.parametrize("level", [0.0, 1.0, True, "much"])
def test_a_level_that_is_no_share_is_named(level: object) -> None:
    with pytest.raises(ValueError, match="cause_error"):
        PairMonitor(cause_error=level)  # type: ignore[arg-type]
