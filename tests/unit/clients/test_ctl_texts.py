"""Everything the contract can say has a sentence."""

from __future__ import annotations

import pytest
from jpkireset.gateway.v1.gateway_service_pb2 import ReadinessProblem
from jpkireset.gateway.v1.reason_pb2 import REASON_BUSY, REASON_CANCELLED, REASON_DRAINING, Reason
from jpkireset.gateway.v1.reset_service_pb2 import (
    OUTCOME_DONE,
    OUTCOME_NOT_DONE,
    OUTCOME_UNKNOWN,
    OUTCOME_UNSPECIFIED,
    CardRequest,
    InputProblem,
    Outcome,
    State,
)

from gatewayctl import texts
from gatewayctl.report import exit_code_of


@pytest.mark.parametrize(
    ("enum", "table"),
    [
        (Reason, texts.REASONS),
        (InputProblem, texts.INPUT_PROBLEMS),
        (Outcome, texts.OUTCOMES),
        (State, texts.STATES),
        (CardRequest, texts.CARD_REQUESTS),
        (ReadinessProblem, texts.READINESS_PROBLEMS),
    ],
)
def test_each_value_has_a_text_and_no_text_is_left_over(enum: object, table: dict[str, object]) -> None:
    assert list(table) == enum.keys()  # type: ignore[attr-defined]


def test_a_reason_says_what_happened_and_what_to_do() -> None:
    assert all(text.what.endswith(".") and text.next.endswith(".") for text in texts.REASONS.values())
    assert len({text.what for text in texts.REASONS.values()}) == len(texts.REASONS)


def test_problems_have_their_own_sentences() -> None:
    for table in (texts.INPUT_PROBLEMS, texts.READINESS_PROBLEMS, texts.OUTCOMES):
        said = [text for text in table.values() if text]
        assert len(set(said)) == len(table) - 1  # all but the unspecified one


@pytest.mark.parametrize("tries", [0, 1, 2, 3, 4])
def test_tries_are_said_in_words_and_in_japanese(tries: int) -> None:
    assert f"あと{tries}回" in texts.tries_left(tries)


@pytest.mark.parametrize(
    ("outcome", "reason", "code"),
    [
        (OUTCOME_DONE, 0, 0),
        (OUTCOME_NOT_DONE, REASON_CANCELLED, 3),
        (OUTCOME_NOT_DONE, 999, 3),
        (OUTCOME_UNKNOWN, REASON_BUSY, 4),
        (OUTCOME_NOT_DONE, REASON_BUSY, 5),
        (OUTCOME_NOT_DONE, REASON_DRAINING, 5),
        (OUTCOME_UNSPECIFIED, 0, 7),
    ],
)
def test_exit_codes_follow_the_outcome(outcome: Outcome.ValueType, reason: Reason.ValueType, code: int) -> None:
    assert exit_code_of(outcome, reason) == code
