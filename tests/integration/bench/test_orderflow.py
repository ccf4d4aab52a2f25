"""The order flow of the benchmarks against the engine that they start: the answers equal the computed ones."""

import pytest

from tests.benchmarks import orderflow, processes

IN_FLIGHT = 10


def test_the_engine_answers_each_batch_as_the_core_in_process_does(monkeypatch: pytest.MonkeyPatch) -> None:
    # A core with another tick accepts what the engine rejects: a benchmark then waits for bytes that do not come.
    monkeypatch.setattr(processes, "DEADLINE_S", 10.0)  # below the 15 s after which a silent client is disconnected
    core, flow = orderflow.open_core(), orderflow.Flow()
    work = orderflow.batches(core, [flow.rest() for _ in range(200)], IN_FLIGHT)
    work += orderflow.batches(core, [flow.mixed() for _ in range(200)], IN_FLIGHT)
    with processes.engine("pure") as server, processes.log_in(server, "B0") as client:
        assert len(processes.round_trips(client, work)) == len(work)
        rejects = {name: n for name, n in server.state().counters.items() if name.startswith("rejects_") and n}
    assert rejects == {}
