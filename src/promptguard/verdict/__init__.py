"""What the detector found, as values that everybody may know: no numpy, no clock, nothing of ours below them."""

from promptguard.verdict.ability import Ability, Habit, Measure, SideAbility
from promptguard.verdict.alarm import Alarm
from promptguard.verdict.values import WORDING, Change, Mode, Onset, Status, Verdict

__all__ = [
    "WORDING",
    "Ability",
    "Alarm",
    "Change",
    "Habit",
    "Measure",
    "Mode",
    "Onset",
    "SideAbility",
    "Status",
    "Verdict",
]
