"""The detector: whether the model behind a prompt changed, since when, what, and by how much.

Pure: no clock, randomness, threads, files, network or logging; numpy and re2 only. Importing it loads numpy,
so `promptguard` itself never imports it.
"""

from promptguard.drift.betting.evidence import epoch_alpha
from promptguard.drift.betting.naming import e_bh
from promptguard.drift.betting.partitions import AnswerVector, vectorise_answer
from promptguard.drift.betting.plan import days_needed, largest_hidden, pairs_needed
from promptguard.drift.explain.ability import signal_detection
from promptguard.drift.explain.effects import betting_interval
from promptguard.drift.features.answer import Answer
from promptguard.drift.features.facts import MayTell
from promptguard.drift.features.labels import LabelFunction, LabelRule
from promptguard.drift.features.vector import PairVector, vectorise
from promptguard.drift.monitor import PairMonitor
from promptguard.drift.sets import SetMonitor
from promptguard.verdict import Ability, Change, Habit, Measure, Onset, SideAbility, Verdict

__all__ = [
    "Ability",
    "Answer",
    "AnswerVector",
    "Change",
    "Habit",
    "LabelFunction",
    "LabelRule",
    "MayTell",
    "Measure",
    "Onset",
    "PairMonitor",
    "PairVector",
    "SetMonitor",
    "SideAbility",
    "Verdict",
    "betting_interval",
    "days_needed",
    "e_bh",
    "epoch_alpha",
    "largest_hidden",
    "pairs_needed",
    "signal_detection",
    "vectorise",
    "vectorise_answer",
]
