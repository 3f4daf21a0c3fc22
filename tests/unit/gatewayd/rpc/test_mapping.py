from __future__ import annotations

import re
from importlib import resources

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from jpkireset.gateway.v1 import gateway_service_pb2, reason_pb2, reset_service_pb2

from gatewayd.central.port import Refusal
from gatewayd.dialogue import vocabulary
from gatewayd.session.readiness import Problem
from gatewayd.session.reasons import reason_of

PAIRS = [
    (vocabulary.State, reset_service_pb2.State, "STATE_"),
    (vocabulary.Outcome, reset_service_pb2.Outcome, "OUTCOME_"),
    (vocabulary.CardRequest, reset_service_pb2.CardRequest, "CARD_REQUEST_"),
    (vocabulary.InputProblem, reset_service_pb2.InputProblem, "INPUT_PROBLEM_"),
    (vocabulary.Reason, reason_pb2.Reason, "REASON_"),
    (Problem, gateway_service_pb2.ReadinessProblem, "READINESS_PROBLEM_"),
]


@pytest.mark.parametrize(("ours", "theirs", "prefix"), PAIRS, ids=lambda part: getattr(part, "__name__", ""))
def test_the_words_are_those_of_the_proto(ours, theirs, prefix: str) -> None:  # type: ignore[no-untyped-def]
    assert {f"{prefix}{word.name}" for word in ours} == set(theirs.keys()) - {f"{prefix}UNSPECIFIED"}


def test_every_refusal_of_the_centre_has_a_reason() -> None:
    for refusal in Refusal:
        assert isinstance(reason_of(refusal), vocabulary.Reason)


LABELS = ["What", "Try", "Card", "Reservation", "Citizen", "Operator"]


def reason_comments() -> dict[str, str]:
    raw = resources.files("jpkireset").joinpath("descriptors.binpb").read_bytes()
    file = next(f for f in FileDescriptorSet.FromString(raw).file if f.name.endswith("gateway/v1/reason.proto"))
    names = [value.name for value in file.enum_type[0].value]
    comments = {
        tuple(location.path): location.leading_comments for location in file.source_code_info.location
    }  # path 5.0.2.i: enum_type[0].value[i], descriptor.proto
    return {name: comments[(5, 0, 2, index)] for index, name in enumerate(names)}


@pytest.mark.parametrize(
    ("name", "comment"), [item for item in reason_comments().items() if not item[0].endswith("UNSPECIFIED")]
)
def test_each_reason_says_everything_about_itself(name: str, comment: str) -> None:
    assert re.findall(r"^ ?(\w+): \S", comment, flags=re.MULTILINE) == LABELS, name
