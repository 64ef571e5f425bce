"""What prompts cost, as `python -m benchmarks.prompts` measures it, with room for a busy machine."""

from __future__ import annotations

import time

import pytest
from benchmarks import prompts

pytestmark = pytest.mark.slow


def test_a_call_of_twenty_messages_is_recognised_in_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(prompts, "MOST_RECOGNITION_US", 2 * prompts.MOST_RECOGNITION_US)
    assert prompts.recognition(tmp_path), capsys.readouterr().out


def test_ten_thousand_files_are_listed_in_a_second(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    assert prompts.listing(tmp_path), capsys.readouterr().out


def test_a_rendering_and_a_call_pay_nothing_for_rollouts_where_there_is_none(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(prompts, "MOST_IDLE_US", 3 * prompts.MOST_IDLE_US)
    assert prompts.staged(tmp_path), capsys.readouterr().out
