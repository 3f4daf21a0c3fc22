"""The daemon with a defect: run like `gatewayd`, and reading a card fails in a way that nobody has foreseen."""

from __future__ import annotations

from gatewayd.__main__ import main
from gatewayd.card import jpki
from gatewayd.card.link import CardLink
from gatewayd.card.values import CardFacts, Unfit


def defective(link: CardLink) -> CardFacts | Unfit:
    """Take the place of `jpki.read_card`."""
    raise ZeroDivisionError


if __name__ == "__main__":
    jpki.read_card = defective
    main()
