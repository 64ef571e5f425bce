"""The lead is given back however a flow ends: nobody waits for a call that is no more."""

from __future__ import annotations

import gc
import threading

import httpx
import pytest
from benchmarks.cache.cuts import PLAIN, URL

import promptguard
from promptguard.http.run import Run
from promptguard.runtime.finishing import finish_abandoned

QUESTION = {"model": "gpt-4", "messages": [{"role": "user", "content": "?"}]}
JSON = {"content-type": "application/json"}


class Provider(httpx.BaseTransport):
    """Answers with one stream a call; may raise instead."""

    def __init__(self):
        self.upstream = 0
        self.raises = None

    def handle_request(self, request):
        self.upstream += 1
        if self.raises is not None:
            raise self.raises
        return httpx.Response(200, headers=JSON, stream=httpx.ByteStream(PLAIN))


@pytest.fixture
def made():
    provider = Provider()
    client = promptguard.guard(httpx.Client(transport=provider), cache="memory")
    yield provider, client, client._transport._promptguard_ports
    client.close()


def elsewhere(client):
    """Ask on another thread, as a leader never waits for itself; return the answer and how long it took to come."""
    told = []
    thread = threading.Thread(target=lambda: told.append(client.post(URL, json=QUESTION).content))
    thread.start()
    thread.join(20)
    return told


def test_a_flow_that_fails_gives_the_lead_back(made, monkeypatch):
    _, client, ports = made
    monkeypatch.setattr("promptguard.core.flow.keep", lambda *_, **__: 1 / 0)
    assert client.post(URL, json=QUESTION).content == PLAIN
    assert len(ports._single_flight) == 0
    assert ports.faults.counts["flow:ZeroDivisionError"] == 1


def test_an_answer_that_cannot_be_recorded_gives_the_lead_back(made, monkeypatch):
    _, client, ports = made
    monkeypatch.setattr("promptguard.http.transport.recorded_stream_class", lambda _: 1 / 0)
    assert client.post(URL, json=QUESTION).content == PLAIN
    assert len(ports._single_flight) == 0


@pytest.mark.parametrize("error", [httpx.ReadTimeout("slow"), KeyboardInterrupt(), SystemExit(0)])
def test_an_exception_from_the_network_gives_the_lead_back(made, error):
    provider, client, ports = made
    provider.raises = error
    with pytest.raises(type(error)):
        client.post(URL, json=QUESTION)
    assert len(ports._single_flight) == 0


def test_an_answer_dropped_unread_gives_the_lead_back(made):
    provider, client, ports = made
    request = client.build_request("POST", URL, json=QUESTION)
    response = client.send(request, stream=True)
    assert len(ports._single_flight) == 1
    del response
    gc.collect()
    assert elsewhere(client) == [PLAIN]
    assert (provider.upstream, len(ports._single_flight)) == (2, 0)


def test_an_exception_between_two_steps_gives_the_lead_back(made, monkeypatch):
    """As a signal's handler raises one: the flow is neither told of an answer nor of a loss."""
    _, client, ports = made

    def interrupted(self, response):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("promptguard.http.run.Run.received", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.post(URL, json=QUESTION)
    gc.collect()
    finish_abandoned()
    assert len(ports._single_flight) == 0
    assert elsewhere(client) == [PLAIN]


def test_the_same_thread_never_waits_for_itself(made):
    provider, client, _ = made
    with client.stream("POST", URL, json=QUESTION) as response:
        assert client.post(URL, json=QUESTION, timeout=30).content == PLAIN
        response.read()
    assert provider.upstream == 2


def test_a_call_that_is_dropped_when_the_process_is_all_but_gone_says_nothing(monkeypatch):
    """Then the names of a module are None."""
    run = Run.__new__(Run)
    run._leader = object()
    with monkeypatch.context() as patched:
        patched.setattr("promptguard.http.run.finish_later", None)
        run.__del__()
    run._leader = None
