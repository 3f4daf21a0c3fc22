"""The reader's waits and limits in one place, so that tests can shorten them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, all of them."""

    apdu_limit: float = 10.0  # one PC/SC call; then the card counts as mute
    connect_patience: float = 2.0  # for a foreign holder, or for pcscd to come back
    retry_pause: float = 0.1  # between two attempts at pcscd or at a held reader
    lift_patience: float = 1.0  # for pcscd to notice that a failed card was lifted
    presence_poll: float = 0.5  # after this long pcscd, which polls every 0.4 s, knows whether a card was pulled
    news_patience: float = 0.5  # for the presence watch to tell of a lift that pcscd knows of
    watch_slice: float = 1.0  # one wait of the presence watch, unless something happens; each costs 0.3 ms of CPU
    silence_limit: float = 4.0  # without a round of the presence watch: then pcscd hangs
    close_limit: float = 3.0  # for the owner thread to end
