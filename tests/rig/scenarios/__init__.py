"""What happens to people at the kiosk's screen, as a table: each by its real cause. Tests and pictures are made of it.

A scenario begins at the idle screen and may end anywhere; what it changed around the kiosk it puts back.
"""

from __future__ import annotations

from tests.rig.scenarios.cards import CARDS
from tests.rig.scenarios.machines import MACHINES
from tests.rig.scenarios.visits import VISITS

PERSONAS = (
    "child",
    "expired",
    "foreign",
    "other-person",
    "revoked-user",
    "unregistered",
    "user-pin-locked",
    "wrong-keys",
)
SCENARIOS = (*VISITS, *CARDS, *MACHINES)
