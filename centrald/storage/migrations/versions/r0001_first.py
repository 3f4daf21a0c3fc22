"""The first tables: fleet, registry, reservations, attempts, writes, reports, and the append-only ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # what SQLite calls INTEGER PRIMARY KEY
_ID = sa.String(64)
_HEX = sa.String(128)
_NAME = sa.String(32)
_MOMENT = sa.DateTime(timezone=True)

_PROTECT_SQLITE = """\
CREATE TRIGGER ledger_no_{verb} BEFORE {verb} ON ledger
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"""
_PROTECT_POSTGRESQL = """\
CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$"""
_ON_POSTGRESQL = """\
CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger
FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()"""
_TABLES = ("ledger", "report", "write", "attempt", "reservation", "phone_challenge", "card", "kiosk", "store", "chain")


def upgrade() -> None:
    """Make all tables."""
    _fleet_and_cards()
    _reservations()
    _ledger()


def downgrade() -> None:
    """Drop all tables, and what they hold."""
    for name in _TABLES:
        op.drop_table(name)
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION ledger_is_append_only()")


def _fleet_and_cards() -> None:
    op.create_table(
        "chain",
        sa.Column("id", _ID, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chain")),
    )
    op.create_table(
        "store",
        sa.Column("chain", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["chain"], ["chain.id"], name=op.f("fk_store_chain")),
        sa.PrimaryKeyConstraint("chain", "id", name=op.f("pk_store")),
    )
    op.create_table(
        "kiosk",
        sa.Column("chain", _ID, nullable=False),
        sa.Column("store", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("added_at", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["chain", "store"], ["store.chain", "store.id"], name=op.f("fk_kiosk_chain_store")),
        sa.PrimaryKeyConstraint("chain", "store", "id", name=op.f("pk_kiosk")),
    )
    op.create_table(
        "card",
        sa.Column("authority_key_id", _HEX, nullable=False),
        sa.Column("serial", _HEX, nullable=False),
        sa.Column("signing_certificate_serial", _HEX, nullable=False),
        sa.Column("signing_not_before", _MOMENT, nullable=False),
        sa.Column("signing_not_after", _MOMENT, nullable=False),
        sa.Column("diversification_data", sa.LargeBinary(10), nullable=False),
        sa.Column("key_versions", sa.JSON(), nullable=False),
        sa.Column("user_revoked", sa.Boolean(), nullable=False),
        sa.Column("signing_revoked", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("authority_key_id", "serial", name=op.f("pk_card")),
    )
    op.create_table(
        "phone_challenge",
        sa.Column("challenge", sa.LargeBinary(32), nullable=False),
        sa.Column("procedure", sa.SmallInteger(), nullable=False),
        sa.Column("issued_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("challenge", name=op.f("pk_phone_challenge")),
    )
    op.create_index(op.f("ix_phone_challenge_issued_at"), "phone_challenge", ["issued_at"], unique=False)


def _reservations() -> None:
    op.create_table(
        "reservation",
        sa.Column("seq", _KEY, autoincrement=True, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("authority_key_id", _HEX, nullable=False),
        sa.Column("serial", _HEX, nullable=False),
        sa.Column("procedure", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.Column("face_match", _NAME, nullable=False),
        sa.Column("challenge", sa.LargeBinary(32), nullable=False),
        sa.Column("content", sa.LargeBinary(32), nullable=False),
        sa.Column("closed", _NAME),
        sa.Column("current_attempt", _ID),
        sa.Column("newest", sa.Boolean(), nullable=False),
        sa.Column("state", _NAME, nullable=False),
        sa.ForeignKeyConstraint(
            ["authority_key_id", "serial"],
            ["card.authority_key_id", "card.serial"],
            name=op.f("fk_reservation_authority_key_id_serial"),
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_reservation")),
        sa.UniqueConstraint("challenge", name=op.f("uq_reservation_challenge")),
        sa.UniqueConstraint("id", name=op.f("uq_reservation_id")),
    )
    op.create_index(
        "uq_reservation_newest",
        "reservation",
        ["authority_key_id", "serial", "procedure"],
        unique=True,
        sqlite_where=sa.text("newest"),
        postgresql_where=sa.text("newest"),
    )
    op.create_table(
        "attempt",
        sa.Column("id", _ID, nullable=False),
        sa.Column("chain", _ID, nullable=False),
        sa.Column("store", _ID, nullable=False),
        sa.Column("kiosk", _ID, nullable=False),
        sa.Column("begun_at", _MOMENT, nullable=False),
        sa.Column("procedure", sa.SmallInteger()),
        sa.Column("challenge", sa.LargeBinary(32), nullable=False),
        sa.Column("check_content", sa.LargeBinary(32)),
        sa.Column("check_refusal", _NAME),
        sa.Column("authority_key_id", _HEX),
        sa.Column("serial", _HEX),
        sa.Column("reservation_id", _ID),
        sa.Column("expires_at", _MOMENT),
        sa.Column("in_doubt", sa.Boolean()),
        sa.Column("key_version", sa.SmallInteger()),
        sa.Column("host_challenges", sa.LargeBinary(24)),
        sa.Column("released_at", _MOMENT),
        sa.Column("released_state", _NAME),
        sa.ForeignKeyConstraint(["reservation_id"], ["reservation.id"], name=op.f("fk_attempt_reservation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
    )
    op.create_index(op.f("ix_attempt_reservation_id"), "attempt", ["reservation_id"], unique=False)
    op.create_table(
        "write",
        sa.Column("seq", _KEY, autoincrement=True, nullable=False),
        sa.Column("attempt_id", _ID, nullable=False),
        sa.Column("n", sa.SmallInteger(), nullable=False),
        sa.Column("reservation_id", _ID, nullable=False),
        sa.Column("status", _NAME, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("key_version", sa.SmallInteger()),
        sa.Column("diversification_data", sa.LargeBinary(10)),
        sa.Column("host_challenge", sa.LargeBinary(8)),
        sa.Column("card_challenge", sa.LargeBinary(8)),
        sa.Column("card_answer", sa.LargeBinary(29), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempt.id"], name=op.f("fk_write_attempt_id")),
        sa.ForeignKeyConstraint(["reservation_id"], ["reservation.id"], name=op.f("fk_write_reservation_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_write")),
        sa.UniqueConstraint("attempt_id", "n", name=op.f("uq_write_attempt_id_n")),
    )
    op.create_index(op.f("ix_write_reservation_id"), "write", ["reservation_id"], unique=False)
    op.create_table(
        "report",
        sa.Column("attempt_id", _ID, nullable=False),
        sa.Column("n", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("outcome", _NAME, nullable=False),
        sa.Column("status_word", sa.Integer(), nullable=False),
        sa.Column("verdict", _NAME, nullable=False),
        sa.Column("state", _NAME, nullable=False),
        sa.Column("contradiction", sa.Boolean(), nullable=False),
        sa.Column("order", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt_id", "n"], ["write.attempt_id", "write.n"], name=op.f("fk_report_attempt_id_n")
        ),
        sa.PrimaryKeyConstraint("attempt_id", "n", "outcome", name=op.f("pk_report")),
    )


def _ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("seq", _KEY, autoincrement=True, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("kiosk", sa.String(length=200)),
        sa.Column("attempt_id", _ID),
        sa.Column("n", sa.SmallInteger()),
        sa.Column("reservation_id", _ID),
        sa.Column("state_before", _NAME),
        sa.Column("state_after", _NAME),
        sa.Column("refusal", _NAME),
        sa.Column("outcome", _NAME),
        sa.Column("status_word", sa.Integer()),
        sa.Column("verdict", _NAME),
        sa.Column("face_match", _NAME),
        sa.Column("contradiction", sa.Boolean()),
        sa.Column("key_version", sa.SmallInteger()),
        sa.Column("diversification_data", sa.LargeBinary(10)),
        sa.Column("host_challenge", sa.LargeBinary(8)),
        sa.Column("card_challenge", sa.LargeBinary(8)),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_ledger")),
    )
    op.create_index(op.f("ix_ledger_attempt_id"), "ledger", ["attempt_id"], unique=False)
    op.create_index(op.f("ix_ledger_reservation_id"), "ledger", ["reservation_id"], unique=False)
    protect_ledger()


def protect_ledger() -> None:
    """Let entries of the ledger be inserted only."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(_PROTECT_POSTGRESQL)
        op.execute(_ON_POSTGRESQL)
    else:
        for verb in ("UPDATE", "DELETE"):
            op.execute(_PROTECT_SQLITE.format(verb=verb))


def unprotect_ledger() -> None:
    """Let a revision change the ledger, until it protects it again."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP TRIGGER ledger_append_only ON ledger")
        op.execute("DROP FUNCTION ledger_is_append_only()")
    else:
        for verb in ("update", "delete"):
            op.execute(f"DROP TRIGGER ledger_no_{verb}")
