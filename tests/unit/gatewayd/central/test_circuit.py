from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gatewayd.central.circuit import FAILURES, PAUSE_S, SPAN_S, Circuit, CircuitState


class Wired:
    """A circuit with time and history."""

    def __init__(self) -> None:
        self.now = 100.0
        self.history: list[CircuitState] = []
        self.circuit = Circuit(lambda: self.now, self.history.append)

    def fail(self, times: int = 1, *, apart_s: float = 0.0) -> None:
        for _ in range(times):
            self.circuit.failed()
            self.now += apart_s

    def open(self) -> None:
        self.fail(FAILURES, apart_s=SPAN_S)
        assert self.circuit.state is CircuitState.OPEN
        self.now = self.now - SPAN_S  # as of the last failure


def test_a_burst_of_failures_is_ridden_over() -> None:
    wired = Wired()
    wired.fail(100, apart_s=SPAN_S / 101)
    assert wired.circuit.state is CircuitState.CLOSED
    assert wired.circuit.admit()


def test_two_failures_far_apart_are_not_enough() -> None:
    wired = Wired()
    wired.fail(FAILURES - 1, apart_s=SPAN_S * 10)
    assert wired.circuit.state is CircuitState.CLOSED


def test_an_answer_in_between_begins_the_count_anew() -> None:
    wired = Wired()
    wired.fail(FAILURES - 1, apart_s=SPAN_S)
    wired.circuit.answered()
    wired.fail(FAILURES - 1, apart_s=SPAN_S)
    assert wired.circuit.state is CircuitState.CLOSED
    assert wired.history == []


def test_an_open_circuit_tries_one_call_after_the_pause() -> None:
    wired = Wired()
    wired.open()
    assert not wired.circuit.admit()
    wired.now += PAUSE_S
    assert [wired.circuit.admit() for _ in range(3)] == [True, False, False]
    wired.fail()
    assert not wired.circuit.admit()
    wired.now += PAUSE_S
    assert wired.circuit.admit()
    wired.circuit.answered()
    assert [wired.circuit.admit() for _ in range(3)] == [True, True, True]
    assert wired.history == [
        CircuitState.OPEN,
        CircuitState.HALF_OPEN,
        CircuitState.OPEN,
        CircuitState.HALF_OPEN,
        CircuitState.CLOSED,
    ]


def test_a_trial_that_was_given_up_lets_the_next_one_through() -> None:
    wired = Wired()
    wired.open()
    wired.now += PAUSE_S
    assert wired.circuit.admit()
    wired.circuit.given_up()
    assert wired.circuit.admit()


def test_failures_of_calls_that_were_not_admitted_prolong_nothing() -> None:
    wired = Wired()
    wired.open()
    wired.now += PAUSE_S / 2
    wired.fail()  # a report, which is always sent
    wired.now += PAUSE_S / 2
    assert wired.circuit.admit()


EVENTS = st.one_of(
    st.sampled_from(["call answered", "call failed", "call given up", "report answered", "report failed"]),
    st.floats(min_value=0.0, max_value=30.0),
)


@given(st.lists(EVENTS, max_size=80))
def test_whatever_happens_calls_go_on_soon_and_an_answer_closes(events: list[str | float]) -> None:
    wired = Wired()
    circuit = wired.circuit
    silence = 0  # calls without an answer since the last one that had one
    for event in events:
        if isinstance(event, float):
            wired.now += event
            continue
        who, what = event.split(" ", 1)
        if who == "call" and not circuit.admit():
            assert silence >= FAILURES, "refused without a reason"
            continue
        {"answered": circuit.answered, "failed": circuit.failed, "given up": circuit.given_up}[what]()
        silence = 0 if what == "answered" else silence + (what == "failed")
        if what == "answered":
            assert circuit.state is CircuitState.CLOSED
        if circuit.state is CircuitState.OPEN:
            assert silence >= FAILURES
    wired.now += PAUSE_S
    assert circuit.admit(), "after the pause there is always a call"
    assert all(one is not other for one, other in zip(wired.history, wired.history[1:], strict=False))
