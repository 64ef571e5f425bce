"""flush() waits for what was committed when it was called, not for what other processes go on to commit."""

from __future__ import annotations

import threading
import time

import promptguard
from promptguard.background.engine import Background
from promptguard.core.options import Drift
from promptguard.drift import Answer, vectorise
from promptguard.ledger.store import Ledger


def background(directory):
    return Background(directory, Drift(), (), record_content=None, queue=1, threads=1, wall=time.time)


def pair(ledger, number):
    return {
        "stream": "candidate", "epoch": 1, "group": "g@1", "at": 0.0, "call": number, "outcome": "compared", "reason": "",
        "asked": "m", "control_model": "m", "candidate_model": "n",
        "vector": vectorise(Answer("yes"), Answer("yes"), seed=ledger.seed).to_bytes(),
    }  # fmt: skip


def test_a_process_that_does_not_judge_is_not_kept_by_a_busy_one(tmp_path):
    judging, other, over = background(tmp_path), background(tmp_path), threading.Event()
    judging.ledger.write_pairs([pair(judging.ledger, 0)])
    assert judging.flush(20.0), "this one has the lease now"

    def keep_busy():
        number = 0
        while not over.is_set():
            number += 1
            judging.writer.put_pair(pair(judging.ledger, number))
            time.sleep(0.005)

    thread = threading.Thread(target=keep_busy)
    thread.start()
    try:
        other.ledger.write_pairs([pair(other.ledger, 10**6)])
        assert other.flush(20.0)
    finally:
        over.set()
        thread.join()
        other.close(5.0)
        judging.close(5.0)


def test_a_pair_that_nobody_judges_is_waited_for_in_vain(tmp_path):
    Ledger(tmp_path).take_lease("evaluator", "somebody who died", time.time(), 20.0)
    other = background(tmp_path)
    assert other.flush(20.0), "there is nothing to judge"
    other.ledger.write_pairs([pair(other.ledger, 1)])
    assert not other.flush(1.0)
    other.close(5.0)


def test_one_that_ends_after_its_last_client_is_waited_for(tmp_path):
    ending = background(tmp_path)
    assert ending.flush(20.0), "this one has the lease now"
    ending.ledger.write_pairs([pair(ending.ledger, number) for number in range(50)])
    ending.stop()
    assert ending.flush(20.0)
    assert [each.pairs for each in promptguard.verdicts(tmp_path)] == [50]
    assert ending.flush(0.0), "there is nothing left to wait for"
    ending.close(5.0)


def test_one_that_ends_while_somebody_who_died_holds_the_lease_says_so(tmp_path):
    ending = background(tmp_path)
    assert ending.flush(20.0)
    ending.ledger.drop_lease("evaluator", ending.evaluator._lease[1])
    ending.close(5.0)
    Ledger(tmp_path).take_lease("evaluator", "somebody who died", time.time(), 20.0)
    other = background(tmp_path)
    other.ledger.write_pairs([pair(other.ledger, 1)])
    other.stop()
    assert not other.flush(60.0)
    other.close(5.0)
