"""Several chains of the ledger side by side, chores that services share, and an index for what is forgotten alone.

What the ledger holds becomes lane 0, as it is. On the way back all lanes become one chain, made anew in the order of
time: hashes that were noted elsewhere are no longer found in it.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from centrald.storage.chain import HASH_BYTES, ORIGIN, digest, record
from centrald.storage.migrations.versions.r0001_first import protect_ledger, unprotect_ledger

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_LANES = 16
_MOMENT = sa.DateTime(timezone=True)
_HASH = sa.LargeBinary(HASH_BYTES)
_CONTRADICTING = sa.text("contradiction")
_LOOSE = sa.text("reservation_id IS NULL")
_NAME = sa.String(length=32)
_ID = sa.String(length=64)
_COLUMNS: tuple[tuple[str, sa.types.TypeEngine[Any]], ...] = (
    ("event", _NAME), ("kiosk", sa.String(length=200)), ("attempt_id", _ID), ("n", sa.SmallInteger()),
    ("reservation_id", _ID), ("state_before", _NAME), ("state_after", _NAME), ("refusal", _NAME), ("outcome", _NAME),
    ("status_word", sa.Integer()), ("verdict", _NAME), ("face_match", _NAME), ("contradiction", sa.Boolean()),
    ("key_version", sa.SmallInteger()), ("diversification_data", sa.LargeBinary(10)),
    ("host_challenge", sa.LargeBinary(8)), ("card_challenge", sa.LargeBinary(8)), ("detail", sa.String(length=200)),
)  # fmt: skip
_COPIED = ("seq", "at", *(name for name, _ in _COLUMNS), "previous", "hash")
_head = sa.table(
    "ledger_head", sa.column("lane", sa.SmallInteger()), sa.column("seq", sa.BigInteger()), sa.column("hash", _HASH)
)
_INDEXED = ("attempt_id", "reservation_id")


def upgrade() -> None:
    """Give the ledger its lanes."""
    unprotect_ledger()
    op.drop_index("ix_ledger_contradiction", table_name="ledger")
    if _postgresql():
        op.add_column("ledger", sa.Column("lane", sa.SmallInteger(), nullable=False, server_default="0"))
        op.alter_column("ledger", "lane", server_default=None)
        op.execute("ALTER TABLE ledger ALTER seq DROP DEFAULT, DROP CONSTRAINT pk_ledger")
        op.execute("DROP SEQUENCE ledger_seq_seq")
        op.create_primary_key("pk_ledger", "ledger", ["lane", "seq"])
    else:
        _rebuild(sa.Column("lane", sa.SmallInteger(), nullable=False), key=("lane", "seq"), lane="0, ")
    _index("at")
    _new_heads("lane")
    for lane in range(1, _LANES):
        op.execute(sa.insert(_head).values(lane=lane, seq=0, hash=sa.literal_column(_literal(ORIGIN))))
    protect_ledger()
    op.create_table(
        "chore",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("claimed_until", _MOMENT, nullable=False),
        sa.Column("done_at", _MOMENT),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_chore")),
    )
    op.create_index("ix_attempt_loose", "attempt", ["begun_at"], sqlite_where=_LOOSE, postgresql_where=_LOOSE)


def downgrade() -> None:
    """Make one chain of all."""
    op.drop_index("ix_attempt_loose", table_name="attempt")
    op.drop_table("chore")
    unprotect_ledger()
    op.drop_index("ix_ledger_contradiction", table_name="ledger")
    _merge()
    if _postgresql():
        op.drop_constraint("pk_ledger", "ledger")
        op.drop_column("ledger", "lane")
        op.create_primary_key("pk_ledger", "ledger", ["seq"])
        op.execute("CREATE SEQUENCE ledger_seq_seq OWNED BY ledger.seq")
        op.execute("SELECT setval('ledger_seq_seq', coalesce(max(seq), 0) + 1, false) FROM ledger")
        op.execute("ALTER TABLE ledger ALTER seq SET DEFAULT nextval('ledger_seq_seq')")
    else:
        _rebuild(key=("seq",))
    _index("seq")
    op.execute("DELETE FROM ledger_head WHERE lane > 0")
    _new_heads("id")
    protect_ledger()


def _postgresql() -> bool:
    return op.get_context().dialect.name == "postgresql"


def _literal(value: bytes) -> str:
    return f"'\\x{value.hex()}'" if _postgresql() else f"x'{value.hex()}'"


def _index(column: str) -> None:
    op.create_index(
        "ix_ledger_contradiction",
        "ledger",
        [column],
        sqlite_where=_CONTRADICTING,
        postgresql_where=_CONTRADICTING,
    )


def _new_heads(key: str) -> None:
    """Call the key of the heads so; what is 1 as an id is 0 as a lane."""
    old, by = ("id", "- 1") if key == "lane" else ("lane", "+ 1")
    op.execute(f"UPDATE ledger_head SET {old} = {old} {by}")  # noqa: S608 - one of the two above
    op.execute(f"ALTER TABLE ledger_head RENAME COLUMN {old} TO {key}")


def _rebuild(*more: sa.Column[int], key: tuple[str, ...], lane: str = "") -> None:
    """Make the table anew, for SQLite changes no primary key."""
    for name in _INDEXED:
        op.drop_index(f"ix_ledger_{name}", table_name="ledger")
    op.rename_table("ledger", "ledger_before")
    seq = sa.Integer() if len(key) == 1 else sa.BigInteger()  # what SQLite calls INTEGER PRIMARY KEY
    op.create_table(
        "ledger",
        *more,
        sa.Column("seq", seq, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        *(sa.Column(name, kind, nullable=name != "event") for name, kind in _COLUMNS),
        *(sa.Column(name, _HASH, nullable=False, server_default=sa.text("''")) for name in ("previous", "hash")),
        sa.PrimaryKeyConstraint(*key, name=op.f("pk_ledger")),
    )
    into = ", ".join((*(("lane",) if lane else ()), *_COPIED))
    names = ", ".join(_COPIED)
    op.execute(f"INSERT INTO ledger ({into}) SELECT {lane}{names} FROM ledger_before")  # noqa: S608 - our own names
    op.drop_table("ledger_before")
    for name in _INDEXED:
        op.create_index(f"ix_ledger_{name}", "ledger", [name], unique=False)


def _merge() -> None:
    """Chain the entries of all lanes anew, in the order of time, unless there is but one lane."""
    connection = op.get_bind()
    ledger = sa.table(
        "ledger",
        *(sa.column(name, sa.BigInteger()) for name in ("lane", "seq")),
        sa.column("at", _MOMENT),
        *(sa.column(name, kind) for name, kind in _COLUMNS),
        *(sa.column(name, _HASH) for name in ("previous", "hash")),
    )
    if not connection.execute(sa.select(ledger.c.seq).where(ledger.c.lane > 0).limit(1)).first():
        return
    order = (ledger.c.at, ledger.c.lane, ledger.c.seq)
    keys = connection.execute(sa.select(ledger.c.lane, ledger.c.seq).order_by(*order)).all()
    seq, previous = 0, ORIGIN
    for lane, number in keys:
        mine = (ledger.c.lane == lane) & (ledger.c.seq == number)
        row = connection.execute(sa.select(ledger).where(mine)).mappings().one()
        seq += 1
        last = digest(record({**row, "lane": None, "seq": seq, "previous": previous}))
        links = {"lane": -1, "seq": seq, "previous": previous, "hash": last}  # lane 0 has such numbers yet
        connection.execute(sa.update(ledger).where(mine).values(links))
        previous = last
    connection.execute(sa.update(ledger).values(lane=0))
    connection.execute(sa.update(_head).where(_head.c.lane == 0).values(seq=seq, hash=previous))
