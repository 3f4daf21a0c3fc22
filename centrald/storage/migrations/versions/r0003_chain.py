"""Maintenance windows, the chain of the ledger, and indexes for what people and metrics ask.

Entries of before are numbered without gaps and chained in the order they have.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from centrald.storage.chain import HASH_BYTES, ORIGIN, digest, record
from centrald.storage.migrations.versions.r0001_first import protect_ledger, unprotect_ledger

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # what SQLite calls INTEGER PRIMARY KEY
_MOMENT = sa.DateTime(timezone=True)
_HASH = sa.LargeBinary(HASH_BYTES)
_OPEN = sa.text("state IN ('authorized', 'in_doubt')")
_CONTRADICTING = sa.text("contradiction")

# The ledger as it is at this revision.
_ledger = sa.table(
    "ledger",
    sa.column("seq", _KEY),
    sa.column("at", _MOMENT),
    *(sa.column(name, sa.String()) for name in ("event", "kiosk", "attempt_id", "reservation_id")),
    *(sa.column(name, sa.String()) for name in ("state_before", "state_after", "refusal", "outcome", "verdict")),
    *(sa.column(name, sa.Integer()) for name in ("n", "status_word", "key_version")),
    sa.column("face_match", sa.String()),
    sa.column("contradiction", sa.Boolean()),
    *(sa.column(name, sa.LargeBinary()) for name in ("diversification_data", "host_challenge", "card_challenge")),
    sa.column("previous", _HASH),
    sa.column("hash", _HASH),
)
_head = sa.table("ledger_head", sa.column("id", _KEY), sa.column("seq", _KEY), sa.column("hash", _HASH))


def upgrade() -> None:
    """Make the tables, and chain what the ledger holds."""
    op.create_table(
        "maintenance",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("starts_at", _MOMENT, nullable=False),
        sa.Column("ends_at", _MOMENT, nullable=False),
        sa.Column("note", sa.String(length=200)),
        sa.Column("added_at", _MOMENT, nullable=False),
        sa.Column("cancelled_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_maintenance")),
    )
    op.create_index(op.f("ix_maintenance_ends_at"), "maintenance", ["ends_at"], unique=False)
    op.create_table(
        "ledger_head",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", _HASH, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_head")),
    )
    unprotect_ledger()
    op.add_column("ledger", sa.Column("detail", sa.String(length=200)))
    for name in ("previous", "hash"):
        op.add_column("ledger", sa.Column(name, _HASH, nullable=False, server_default=sa.text("''")))
    seq, last = (0, ORIGIN) if op.get_context().as_sql else _chain()  # a script makes tables from nothing
    literal = f"'\\x{last.hex()}'" if op.get_context().dialect.name == "postgresql" else f"x'{last.hex()}'"
    op.execute(sa.insert(_head).values(id=1, seq=seq, hash=sa.literal_column(literal)))
    protect_ledger()
    op.create_index(
        "ix_ledger_contradiction",
        "ledger",
        ["seq"],
        sqlite_where=_CONTRADICTING,
        postgresql_where=_CONTRADICTING,
    )
    op.create_index("ix_reservation_open", "reservation", ["state"], sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_index(op.f("ix_reservation_expires_at"), "reservation", ["expires_at"], unique=False)


def _chain() -> tuple[int, bytes]:
    """Chain every entry in the order of the keys; returns the last key and hash."""
    connection = op.get_bind()
    seq, previous = 0, ORIGIN
    keys = list(connection.execute(sa.select(_ledger.c.seq).order_by(_ledger.c.seq)).scalars())
    for key in keys:
        row = connection.execute(sa.select(_ledger).where(_ledger.c.seq == key)).mappings().one()
        seq += 1
        last = digest(record({**row, "seq": seq, "previous": previous}))
        links = {"seq": seq, "previous": previous, "hash": last}
        connection.execute(sa.update(_ledger).where(_ledger.c.seq == key).values(links))
        previous = last
    return seq, previous


def downgrade() -> None:
    """Drop what came with it; the entries stay, unchained."""
    op.drop_index(op.f("ix_reservation_expires_at"), table_name="reservation")
    op.drop_index("ix_reservation_open", table_name="reservation")
    op.drop_index("ix_ledger_contradiction", table_name="ledger")
    for name in ("hash", "previous", "detail"):
        op.drop_column("ledger", name)
    op.drop_table("ledger_head")
    op.drop_table("maintenance")
