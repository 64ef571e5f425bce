"""The detector: whether the model behind a prompt changed, since when, what, and by how much.

Pure: no clock, randomness, threads, files, network or logging; numpy and re2 only. Importing it loads numpy,
so `promptguard` itself never imports it.
"""

from promptguard.drift.ability import Ability, Habit, Measure, SideAbility, signal_detection
from promptguard.drift.answer import Answer
from promptguard.drift.effects import betting_interval
from promptguard.drift.evidence import epoch_alpha
from promptguard.drift.labels import LabelFunction, LabelRule
from promptguard.drift.monitor import PairMonitor
from promptguard.drift.naming import e_bh
from promptguard.drift.partitions import AnswerVector, vectorise_answer
from promptguard.drift.plan import largest_hidden, pairs_needed
from promptguard.drift.sets import SetMonitor
from promptguard.drift.vector import PairVector, vectorise
from promptguard.drift.verdict import Change, Onset, Verdict

__all__ = [
    "Ability",
    "Answer",
    "AnswerVector",
    "Change",
    "Habit",
    "LabelFunction",
    "LabelRule",
    "Measure",
    "Onset",
    "PairMonitor",
    "PairVector",
    "SetMonitor",
    "SideAbility",
    "Verdict",
    "betting_interval",
    "e_bh",
    "epoch_alpha",
    "largest_hidden",
    "pairs_needed",
    "signal_detection",
    "vectorise",
    "vectorise_answer",
]
