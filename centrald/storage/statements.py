"""The statements of every call, built once: SQLAlchemy then builds, names and compiles none of them again.

Values of one name that a statement uses beside a column of that name are called otherwise (`of`, `of_n`, ...).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from centrald.storage.schema import (
    Moment,
    attempt,
    card,
    chain,
    kiosk,
    maintenance,
    phone_challenge,
    report,
    reservation,
    store,
    write,
)

_value = sa.bindparam


# Written as in the partial index, or SQLite does not use it: by itself SQLAlchemy writes newest = 1 there.
_NEWEST: sa.ColumnElement[bool] = sa.literal_column("reservation.newest")


def _of_certificate(table: sa.Table) -> sa.ColumnElement[bool]:
    return (table.c.authority_key_id == _value("of_authority")) & (table.c.serial == _value("of_serial"))


def part(table: sa.Table) -> list[sa.Label[Any]]:
    """Return the columns of a table that is read beside others: table__column."""
    return [column.label(f"{table.name}__{column.name}") for column in table.c]


class _ServersClock(FunctionElement[Any]):
    """The time by the database server's clock; NULL where the database has none."""

    inherit_cache = True


@compiles(_ServersClock)
def _no_clock(element: _ServersClock, compiler: Any, **words: Any) -> str:
    return "NULL"


@compiles(_ServersClock, "postgresql")
def _postgresqls_clock(element: _ServersClock, compiler: Any, **words: Any) -> str:
    return "clock_timestamp()"


# What a call begins with tells the time as well: `now` is the one that is given as `clock`, or else the server's.
_now = sa.func.coalesce(sa.bindparam("clock", type_=Moment), _ServersClock(), type_=Moment).label("now")
_one_row = sa.select(sa.literal_column("1").label("one")).subquery("one_row")
NOW = sa.select(_now)

_enabled = (
    sa.select(sa.literal_column("1"))
    .select_from(
        kiosk.join(store, (store.c.chain == kiosk.c.chain) & (store.c.id == kiosk.c.store)).join(
            chain, chain.c.id == kiosk.c.chain
        )
    )
    .where(
        kiosk.c.chain == _value("chain"),
        kiosk.c.store == _value("store"),
        kiosk.c.id == _value("kiosk"),
        chain.c.enabled,
        store.c.enabled,
        kiosk.c.enabled,
    )
    .exists()
    .label("enabled")
)
_moment = sa.select(_now).cte("moment")
_ahead = (maintenance.c.ends_at > _moment.c.now) & maintenance.c.cancelled_at.is_(None)
# One row at least, and one for each maintenance window ahead.
STANDING = sa.select(
    _moment.c.now, _enabled, maintenance.c.starts_at, maintenance.c.ends_at, *part(attempt)
).select_from(_moment.outerjoin(maintenance, _ahead).outerjoin(attempt, attempt.c.id == _value("attempt")))

_held_attempt = sa.select(attempt).where(attempt.c.id == _value("attempt")).with_for_update().cte("held_attempt")
_its_card = (card.c.authority_key_id == _held_attempt.c.authority_key_id) & (card.c.serial == _held_attempt.c.serial)
_held_card = sa.select(card).join(_held_attempt, _its_card).with_for_update(of=card).cte("held_card")
_both_held = _one_row.outerjoin(_held_attempt, sa.true()).outerjoin(_held_card, sa.true())
_its_columns = [_held_attempt.c[one.name].label(f"attempt__{one.name}") for one in attempt.c]
# One row: the attempt, held first, and the card that passed its check, held after it; or NULLs.
ATTEMPT = sa.select(_now, *_its_columns, _held_card.c.serial.label("held")).select_from(_both_held)
VISIT = sa.select(
    _now, _enabled, *_its_columns, *(_held_card.c[one.name].label(f"card__{one.name}") for one in card.c)
).select_from(_both_held)

CARD = sa.select(card).where(_of_certificate(card)).with_for_update()

ADD_CHALLENGE = sa.insert(phone_challenge).inline()
OPEN_CHALLENGES = sa.select(sa.func.count().label("count")).where(phone_challenge.c.issued_at > _value("lives_after"))
FORGET_CHALLENGES = sa.delete(phone_challenge).where(phone_challenge.c.issued_at <= _value("lives_after"))
_held_challenge = (
    sa.select(phone_challenge.c.issued_at)
    .where(phone_challenge.c.challenge == _value("challenge"), phone_challenge.c.procedure == _value("procedure"))
    .with_for_update()
    .cte("held_challenge")
)
CHALLENGE = sa.select(_now, _held_challenge.c.issued_at).select_from(_one_row.outerjoin(_held_challenge, sa.true()))
USE_CHALLENGE = sa.delete(phone_challenge).where(phone_challenge.c.challenge == _value("used"))


def _with_writes(where: sa.ColumnElement[bool]) -> sa.Select[*tuple[Any, ...]]:
    """Return the query of a reservation, held: one row for each report, or write without any, or just one."""
    of_write = (report.c.attempt_id == write.c.attempt_id) & (report.c.n == write.c.n)
    return (
        sa.select(*part(reservation), write, *part(report))
        .select_from(
            reservation.outerjoin(write, write.c.reservation_id == reservation.c.id).outerjoin(report, of_write)
        )
        .where(where)
        .order_by(write.c.seq, report.c.order)
        .with_for_update(of=reservation)
    )


RESERVATION = _with_writes(reservation.c.id == _value("id"))
RESERVATION_OF_CHALLENGE = _with_writes(reservation.c.challenge == _value("challenge"))
NEWEST_RESERVATION = _with_writes(
    _of_certificate(reservation) & (reservation.c.procedure == _value("of_procedure")) & _NEWEST
)
ADD_RESERVATION = sa.insert(reservation).inline()
SAVE_RESERVATION = sa.update(reservation).where(reservation.c.id == _value("of"))


def writes_and_reports(where: sa.ColumnElement[bool]) -> sa.Select[*tuple[Any, ...]]:
    """Return the query of one row for each report, or for a write without any."""
    of_write = (report.c.attempt_id == write.c.attempt_id) & (report.c.n == write.c.n)
    return (
        sa.select(write, *part(report))
        .select_from(write.outerjoin(report, of_write))
        .where(where)
        .order_by(write.c.seq, report.c.order)
    )


ADD_WRITE = sa.insert(write).inline()
SAVE_WRITE = sa.update(write).where(write.c.attempt_id == _value("of_attempt"), write.c.n == _value("of_n"))
ADD_REPORT = sa.insert(report).inline()
FORGET_REPORT = sa.delete(report).where(
    report.c.attempt_id == _value("of_attempt"),
    report.c.n == _value("of_n"),
    report.c.outcome == _value("of_outcome", type_=report.c.outcome.type),
)

ADD_ATTEMPT = sa.insert(attempt).inline()
SAVE_ATTEMPT = sa.update(attempt).where(attempt.c.id == _value("of"))
