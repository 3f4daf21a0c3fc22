"""The tables, for every database SQLAlchemy speaks to."""

from __future__ import annotations

import datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa

from centrald.rules.model import FaceMatch, Outcome, Refusal, State, Verdict, WriteStatus

LANES = 16  # of the ledger
REVISION = "0004"  # what `centrald.storage.migrations` makes of the tables below

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Moment(sa.types.TypeDecorator[datetime.datetime]):
    """A moment in UTC, aware on the Python side whatever the database keeps."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime.datetime | None, dialect: sa.Dialect) -> datetime.datetime | None:
        """Convert to UTC; a moment without zone is a mistake."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        return value.astimezone(datetime.UTC) if value else None

    def process_result_value(self, value: datetime.datetime | None, dialect: sa.Dialect) -> datetime.datetime | None:
        """Return it aware."""
        return value.replace(tzinfo=datetime.UTC) if value and value.tzinfo is None else value


def _values(kind: type[Enum]) -> list[str]:
    return [str(member.value) for member in kind]


def _enum(kind: type[Enum]) -> sa.Enum:
    return sa.Enum(kind, native_enum=False, length=32, values_callable=_values)


def _key(name: str) -> sa.Column[int]:
    """Return a growing key: 64 bits, and what SQLite calls INTEGER PRIMARY KEY."""
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True)


_ID = sa.String(64)
_HEX = sa.String(128)


def _certificate() -> list[sa.Column[Any]]:
    return [sa.Column("authority_key_id", _HEX, nullable=False), sa.Column("serial", _HEX, nullable=False)]


def _transcript() -> list[sa.Column[Any]]:
    return [
        sa.Column("key_version", sa.SmallInteger),
        sa.Column("diversification_data", sa.LargeBinary(10)),
        sa.Column("host_challenge", sa.LargeBinary(8)),
        sa.Column("card_challenge", sa.LargeBinary(8)),
    ]


chain = sa.Table(
    "chain",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("enabled", sa.Boolean, nullable=False),
)

store = sa.Table(
    "store",
    metadata,
    sa.Column("chain", _ID, sa.ForeignKey("chain.id"), primary_key=True),
    sa.Column("id", _ID, primary_key=True),
    sa.Column("enabled", sa.Boolean, nullable=False),
)

kiosk = sa.Table(
    "kiosk",
    metadata,
    sa.Column("chain", _ID, primary_key=True),
    sa.Column("store", _ID, primary_key=True),
    sa.Column("id", _ID, primary_key=True),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("added_at", Moment, nullable=False),
    sa.ForeignKeyConstraint(["chain", "store"], ["store.chain", "store.id"]),
)

card = sa.Table(
    "card",
    metadata,
    *_certificate(),
    sa.Column("signing_certificate_serial", _HEX, nullable=False),
    sa.Column("signing_not_before", Moment, nullable=False),
    sa.Column("signing_not_after", Moment, nullable=False),
    sa.Column("diversification_data", sa.LargeBinary(10), nullable=False),
    sa.Column("key_versions", sa.JSON, nullable=False),
    sa.Column("user_revoked", sa.Boolean, nullable=False),
    sa.Column("signing_revoked", sa.Boolean, nullable=False),
    sa.Column("signing_authority_key_id", _HEX),
    sa.PrimaryKeyConstraint("authority_key_id", "serial"),
)

phone_challenge = sa.Table(
    "phone_challenge",
    metadata,
    sa.Column("challenge", sa.LargeBinary(32), primary_key=True),
    sa.Column("procedure", sa.SmallInteger, nullable=False),
    sa.Column("issued_at", Moment, nullable=False, index=True),
)

reservation = sa.Table(
    "reservation",
    metadata,
    _key("seq"),
    sa.Column("id", _ID, nullable=False, unique=True),
    *_certificate(),
    sa.Column("procedure", sa.SmallInteger, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False, index=True),
    sa.Column("face_match", _enum(FaceMatch), nullable=False),
    sa.Column("challenge", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("content", sa.LargeBinary(32), nullable=False),
    sa.Column("closed", _enum(State)),
    sa.Column("current_attempt", _ID),
    sa.Column("newest", sa.Boolean, nullable=False),
    sa.Column("state", _enum(State), nullable=False),  # as of the last change; time may have moved it on since
    sa.ForeignKeyConstraint(["authority_key_id", "serial"], ["card.authority_key_id", "card.serial"]),
)
# One live reservation for each certificate and procedure, whatever the rules say.
sa.Index(
    "uq_reservation_newest",
    reservation.c.authority_key_id,
    reservation.c.serial,
    reservation.c.procedure,
    unique=True,
    sqlite_where=reservation.c.newest,
    postgresql_where=reservation.c.newest,
)

# Few of many: what people look after, and what the metrics count.
_OPEN = sa.text("state IN ('authorized', 'in_doubt')")
sa.Index("ix_reservation_open", reservation.c.state, sqlite_where=_OPEN, postgresql_where=_OPEN)

attempt = sa.Table(
    "attempt",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("chain", _ID, nullable=False),
    sa.Column("store", _ID, nullable=False),
    sa.Column("kiosk", _ID, nullable=False),
    sa.Column("begun_at", Moment, nullable=False),
    sa.Column("procedure", sa.SmallInteger),  # NULL: a tombstone
    sa.Column("challenge", sa.LargeBinary(32), nullable=False),
    sa.Column("check_content", sa.LargeBinary(32)),  # NULL: not checked yet
    sa.Column("check_refusal", _enum(Refusal)),
    sa.Column("authority_key_id", _HEX),
    sa.Column("serial", _HEX),
    sa.Column("reservation_id", _ID, sa.ForeignKey("reservation.id"), index=True),
    sa.Column("expires_at", Moment),
    sa.Column("in_doubt", sa.Boolean),
    sa.Column("key_version", sa.SmallInteger),
    sa.Column("host_challenges", sa.LargeBinary(24)),
    sa.Column("released_at", Moment),
    sa.Column("released_state", _enum(State)),
)
# What no reservation takes along when it is forgotten. Written as in the query, or SQLite does not use it.
_LOOSE = sa.text("reservation_id IS NULL")
sa.Index("ix_attempt_loose", attempt.c.begun_at, sqlite_where=_LOOSE, postgresql_where=_LOOSE)

write = sa.Table(
    "write",
    metadata,
    _key("seq"),  # the order of the writes of one reservation
    sa.Column("attempt_id", _ID, sa.ForeignKey("attempt.id"), nullable=False),
    sa.Column("n", sa.SmallInteger, nullable=False),
    sa.Column("reservation_id", _ID, sa.ForeignKey("reservation.id"), nullable=False, index=True),
    sa.Column("status", _enum(WriteStatus), nullable=False),
    sa.Column("at", Moment, nullable=False),
    *_transcript(),
    sa.Column("card_answer", sa.LargeBinary(29), nullable=False),
    sa.UniqueConstraint("attempt_id", "n"),
)

report = sa.Table(
    "report",
    metadata,
    sa.Column("attempt_id", _ID, primary_key=True),
    sa.Column("n", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("outcome", _enum(Outcome), primary_key=True),
    sa.Column("status_word", sa.Integer, nullable=False),
    sa.Column("verdict", _enum(Verdict), nullable=False),
    sa.Column("state", _enum(State), nullable=False),
    sa.Column("contradiction", sa.Boolean, nullable=False),
    sa.Column("order", sa.SmallInteger, nullable=False),
    sa.ForeignKeyConstraint(["attempt_id", "n"], ["write.attempt_id", "write.n"]),
)

# Append-only; never a receipt's bytes, never a key.
ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("lane", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("event", sa.String(32), nullable=False),
    sa.Column("kiosk", sa.String(200)),
    sa.Column("attempt_id", _ID, index=True),
    sa.Column("n", sa.SmallInteger),
    sa.Column("reservation_id", _ID, index=True),
    sa.Column("state_before", _enum(State)),
    sa.Column("state_after", _enum(State)),
    sa.Column("refusal", _enum(Refusal)),
    sa.Column("outcome", _enum(Outcome)),
    sa.Column("status_word", sa.Integer),
    sa.Column("verdict", _enum(Verdict)),
    sa.Column("face_match", _enum(FaceMatch)),
    sa.Column("contradiction", sa.Boolean),
    sa.Column("detail", sa.String(200)),
    *_transcript(),
    sa.Column("previous", sa.LargeBinary(32), nullable=False, server_default=sa.text("''")),  # hash of the one before
    sa.Column("hash", sa.LargeBinary(32), nullable=False, server_default=sa.text("''")),
)
_CONTRADICTING = sa.text("contradiction")
sa.Index("ix_ledger_contradiction", ledger.c.at, sqlite_where=_CONTRADICTING, postgresql_where=_CONTRADICTING)

# One row for each lane: its last entry. The row's lock puts those who append in order.
ledger_head = sa.Table(
    "ledger_head",
    metadata,
    sa.Column("lane", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.LargeBinary(32), nullable=False),
)

maintenance = sa.Table(
    "maintenance",
    metadata,
    _key("id"),
    sa.Column("starts_at", Moment, nullable=False),
    sa.Column("ends_at", Moment, nullable=False, index=True),
    sa.Column("note", sa.String(200)),
    sa.Column("added_at", Moment, nullable=False),
    sa.Column("cancelled_at", Moment),
)

# What has to be done from time to time, by one of the services.
chore = sa.Table(
    "chore",
    metadata,
    sa.Column("name", _ID, primary_key=True),
    sa.Column("claimed_until", Moment, nullable=False),
    sa.Column("done_at", Moment),
)

_version = sa.table("alembic_version", sa.column("version_num"))


def revision_of(connection: sa.Connection) -> str | None:
    """Return the revision of the tables that are really there; None where no migration ever ran."""
    if not sa.inspect(connection).has_table(_version.name):
        return None
    found: str | None = connection.execute(sa.select(_version.c.version_num)).scalar_one_or_none()
    return found
