"""The command's body, apart from the command line so that `--help` needs neither grpc nor PC/SC."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import typer

from jpki_phone import pcsc
from jpki_phone.centre import Reservation, open_centre
from jpki_phone.person import ask_user_pin, tell, tries_left
from jpki_phone.problems import ExitCode, NotReserved
from jpki_phone.reserve import reserve

TOKYO = datetime.timezone(datetime.timedelta(hours=9), "Asia/Tokyo")  # no summer time since 1951
FACE_MATCH = "not performed"
_WEEKDAYS = (
    ("Monday", "月"),
    ("Tuesday", "火"),
    ("Wednesday", "水"),
    ("Thursday", "木"),
    ("Friday", "金"),
    ("Saturday", "土"),
    ("Sunday", "日"),
)


def run(reader: str | None, address: str, authority: Path, *, wait_s: int, as_json: bool) -> ExitCode:
    """Run `jpki-phone reserve`."""
    try:
        with pcsc.open_slot(reader) as slot, open_centre(address, authority.read_bytes()) as centre:
            slot.wait_for_card(wait_s, lambda: tell(f"Place the card (マイナンバーカード) on {slot.name}."))
            reservation = reserve(slot, centre, ask_user_pin)
    except NotReserved as problem:
        _print_problem(problem, as_json=as_json)
        return problem.text.exit_code
    except KeyboardInterrupt:
        tell("\nLeft. If the reservation was under way, start again: a new one takes its place.")
        return ExitCode.LEFT
    _print_reservation(reservation, as_json=as_json)
    return ExitCode.RESERVED


def local_words(moment: datetime.datetime) -> str:
    """Return a moment as people in Japan read it, in both languages."""
    local = moment.astimezone(TOKYO)
    english, japanese = _WEEKDAYS[local.weekday()]
    return (
        f"{english} {local:%Y-%m-%d %H:%M} (Asia/Tokyo), "
        f"{local.year}年{local.month}月{local.day}日（{japanese}）{local:%H:%M}まで"
    )


def _print_reservation(reservation: Reservation, *, as_json: bool) -> None:
    if as_json:
        _print_json(
            event="reserved",
            reservation_id=reservation.reservation_id,
            expires_at=reservation.expires_at.isoformat(),
            expires_at_local=reservation.expires_at.astimezone(TOKYO).isoformat(),
            face_match=FACE_MATCH,
        )
        return
    typer.echo(f"Reserved (予約できました). Reservation {reservation.reservation_id}.")
    typer.echo(f"It lives until {local_words(reservation.expires_at)}.")
    typer.echo(f"face match: {FACE_MATCH}")


def _print_problem(problem: NotReserved, *, as_json: bool) -> None:
    if as_json:
        _print_json(
            event="not_reserved",
            problem=problem.key,
            detail=problem.detail,
            tries_left=problem.tries_left,
            exit_code=int(problem.text.exit_code),
        )
    tell(str(problem))
    if problem.tries_left is not None:
        tell(tries_left(problem.tries_left))
    tell(problem.text.next)


def _print_json(**fields: object) -> None:
    typer.echo(json.dumps(fields, ensure_ascii=False))
