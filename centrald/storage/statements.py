"""The statements of every call, built once: SQLAlchemy then builds, names and compiles none of them again.

Values of one name that a statement uses beside a column of that name are called otherwise (`of`, `of_n`, ...).
"""

from __future__ import annotations

import sqlalchemy as sa

from centrald.storage.schema import (
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


ENABLED = (
    sa.select(sa.literal(1))
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
)

# One row at least, and one for each window.
STANDING = sa.select(ENABLED.exists().label("enabled"), maintenance.c.starts_at, maintenance.c.ends_at).select_from(
    sa.select(sa.literal(1).label("one"))
    .subquery()
    .outerjoin(
        maintenance,
        (maintenance.c.ends_at > _value("now"))
        & (maintenance.c.starts_at < _value("near"))
        & maintenance.c.cancelled_at.is_(None),
    )
)

CARD = sa.select(card).where(_of_certificate(card)).with_for_update()

ADD_CHALLENGE = sa.insert(phone_challenge).inline()
OPEN_CHALLENGES = sa.select(sa.func.count().label("count")).where(phone_challenge.c.issued_at > _value("lives_after"))
FORGET_CHALLENGES = sa.delete(phone_challenge).where(phone_challenge.c.issued_at <= _value("lives_after"))
CHALLENGE = (
    sa.select(phone_challenge.c.challenge)
    .where(
        phone_challenge.c.challenge == _value("challenge"),
        phone_challenge.c.procedure == _value("procedure"),
        phone_challenge.c.issued_at > _value("lives_after"),
    )
    .with_for_update()
)
USE_CHALLENGE = sa.delete(phone_challenge).where(phone_challenge.c.challenge == _value("used"))

RESERVATION = sa.select(reservation).where(reservation.c.id == _value("id")).with_for_update()
RESERVATION_OF_CHALLENGE = (
    sa.select(reservation).where(reservation.c.challenge == _value("challenge")).with_for_update()
)
NEWEST_RESERVATION = (
    sa.select(reservation)
    .where(_of_certificate(reservation), reservation.c.procedure == _value("of_procedure"), _NEWEST)
    .with_for_update()
)
NO_LONGER_NEWEST = (
    sa.update(reservation)
    .where(_of_certificate(reservation), reservation.c.procedure == _value("of_procedure"), _NEWEST)
    .values(newest=sa.false())
)
ADD_RESERVATION = sa.insert(reservation).inline()
SAVE_RESERVATION = sa.update(reservation).where(reservation.c.id == _value("of"))


def writes_and_reports(where: sa.ColumnElement[bool]) -> sa.Select[*tuple[object, ...]]:
    """Return the query of one row for each report, or for a write without any; the report's columns are report_…."""
    return (
        sa.select(write, *(column.label(f"report_{column.name}") for column in report.c))
        .select_from(write.outerjoin(report, (report.c.attempt_id == write.c.attempt_id) & (report.c.n == write.c.n)))
        .where(where)
        .order_by(write.c.seq, report.c.order)
    )


WRITES_AND_REPORTS = writes_and_reports(write.c.reservation_id == _value("reservation_id"))
ADD_WRITE = sa.insert(write).inline()
SAVE_WRITE = sa.update(write).where(write.c.attempt_id == _value("of_attempt"), write.c.n == _value("of_n"))
ADD_REPORT = sa.insert(report).inline()
FORGET_REPORT = sa.delete(report).where(
    report.c.attempt_id == _value("of_attempt"),
    report.c.n == _value("of_n"),
    report.c.outcome == _value("of_outcome", type_=report.c.outcome.type),
)

ATTEMPT = sa.select(attempt).where(attempt.c.id == _value("id")).with_for_update()
ADD_ATTEMPT = sa.insert(attempt).inline()
SAVE_ATTEMPT = sa.update(attempt).where(attempt.c.id == _value("of"))
