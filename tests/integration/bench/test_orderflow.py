"""The benchmarks compute the answers to their orders in advance. A real engine must give these answers."""

import pytest

from tests.benchmarks import orderflow, processes

IN_FLIGHT = 10


def test_the_engine_answers_each_batch_as_the_core_in_process_does(monkeypatch: pytest.MonkeyPatch) -> None:
    # If the core in this process had another tick than the engine, it would accept orders that the engine rejects. A
    # benchmark would then wait for bytes that never arrive.
    monkeypatch.setattr(processes, "DEADLINE_S", 10.0)  # the engine disconnects a silent client after 15 s
    core, flow = orderflow.open_core(), orderflow.Flow()
    work = orderflow.batches(core, [flow.rest() for _ in range(200)], IN_FLIGHT)
    work += orderflow.batches(core, [flow.mixed() for _ in range(200)], IN_FLIGHT)
    with processes.engine("pure") as server, processes.log_in(server, "B0") as client:
        assert len(processes.round_trips(client, work)) == len(work)
        rejects = {name: n for name, n in server.state().counters.items() if name.startswith("rejects_") and n}
    assert rejects == {}
