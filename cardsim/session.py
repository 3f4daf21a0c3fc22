"""What a card knows only while it has power: selection, verified references, the secure channel."""

from __future__ import annotations

from dataclasses import dataclass, field

from cardsim import scp03
from cardsim.apdu import CardError, Status
from cardsim.commands import CURRENT_FILE, SHORT_ID_MASK, demand_parameters
from cardsim.memory import Application, ElementaryFile, Reference, ReferenceFile, ReferenceName


@dataclass(slots=True)
class Session:
    """Power loss, reset and the selection of an application drop all of it: a new one takes its place."""

    application: Application
    file: int | None = None
    verified: set[ReferenceName] = field(default_factory=set)
    offer: scp03.Offer | None = None  # lives for the very next command
    channel: scp03.Channel | None = None  # lives for the very next command

    def select(self, fid: int | None) -> None:
        """Make an elementary file the current one. Raises CardError when the application has none of this id."""
        if fid not in self.application.files:
            raise CardError(Status.FILE_NOT_FOUND)
        self.file = fid

    def current_file(self) -> ElementaryFile:
        """Return the selected file. Raises CardError when there is none."""
        if self.file is None:
            raise CardError(Status.NO_CURRENT_FILE)
        return self.application.files[self.file]

    def named_file(self, p2: int) -> ElementaryFile:
        """Return the file that P2 means: the selected one, or the one with this short identifier. Raises CardError."""
        demand_parameters(p2 & ~SHORT_ID_MASK == CURRENT_FILE)
        if p2 == CURRENT_FILE:
            return self.current_file()
        fid = self.application.by_short_id(p2 & SHORT_ID_MASK)
        if fid is None:
            raise CardError(Status.REFERENCE_NOT_FOUND)
        return self.application.files[fid]

    def named_reference(self, p2: int) -> Reference:
        """Return the reference datum that P2 means. Raises CardError."""
        file = self.named_file(p2)
        if not isinstance(file, ReferenceFile):
            raise CardError(Status.WRONG_KIND_OF_FILE)
        return file.reference

    def demand_verified(self, guard: ReferenceName | None) -> None:
        """Raise CardError unless this reference is verified; None demands nothing."""
        if guard is not None and guard not in self.verified:
            raise CardError(Status.SECURITY_NOT_SATISFIED)
