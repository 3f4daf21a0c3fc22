"""Revocation lists: which are believed, what they say of which certificate, and what happens when they grow old."""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from centrald import pki
from centrald.app import revocations_of
from centrald.certificates import load_roots
from centrald.config import Config, Revocation
from centrald.errors import AlreadyThere, ConfigError
from centrald.revocation import Condition, Revocations, Role, Root, all_roots, read
from centrald.rules.model import Attempt, Refusal, Reservation
from centrald.service.channels import Authorized
from centrald.service.kiosks import ServiceStatus
from tests.rig.crl import DAY, crl
from tests.unit.centrald.world import KIOSK, PROCEDURE, HeldCard, ManualClock, World, new_id

NOW = ManualClock().now()
GRACE = datetime.timedelta(hours=24)
MINUTE = datetime.timedelta(minutes=1)
NAMES = {"user": Role.USER, "sign": Role.SIGNING}


@pytest.fixture(scope="module")
def authorities(initialized: Path) -> dict[Role, pki.Issued]:
    folder = initialized / "authority"
    return {role: pki.load(folder / f"{name}-ca.pem", folder / f"{name}-ca.key") for name, role in NAMES.items()}


@pytest.fixture(scope="module")
def user(authorities: dict[Role, pki.Issued]) -> pki.Issued:
    return authorities[Role.USER]


@pytest.fixture(scope="module")
def roots(initialized: Path) -> dict[str, Root]:
    folder = initialized / "authority"
    return all_roots({role: load_roots(folder / f"{name}-ca.pem") for name, role in NAMES.items()})


def key_id(authority: pki.Issued) -> str:
    return authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()


def point(**what: object) -> x509.IssuingDistributionPoint:
    nothing: dict[str, object] = {
        "full_name": None, "relative_name": None, "only_contains_user_certs": False, "only_contains_ca_certs": False,
        "only_some_reasons": None, "indirect_crl": False, "only_contains_attribute_certs": False,
    }  # fmt: skip
    return x509.IssuingDistributionPoint(**(nothing | what))  # type: ignore[arg-type]


def test_a_list_that_is_right(user: pki.Issued, roots: dict[str, Root]) -> None:
    der = crl(user, NOW, 10, 0x0A0B0C0D, number=7)
    known = read(der, roots, NOW)
    assert (known.authority_key_id, known.number) == (key_id(user), 7)
    assert (known.this_update, known.next_update) == (NOW, NOW + DAY)
    assert known.serials == {10, 0x0A0B0C0D}
    pem = x509.load_der_x509_crl(der).public_bytes(serialization.Encoding.PEM)
    assert read(pem, roots, NOW) == known
    assert "10" not in repr(known).replace(known.authority_key_id, "")
    only_users = crl(user, NOW, more=((point(only_contains_user_certs=True), True),))
    assert read(only_users, roots, NOW).serials == frozenset()


WRONG: dict[str, tuple[str, Callable[[pki.Issued], bytes]]] = {
    "junk": ("not a revocation list", lambda _: b"junk"),
    "half of it": ("not a revocation list", lambda user: crl(user, NOW)[:-40]),
    "of another authority": (
        "no authority known here",
        lambda _: crl(pki.card_authority("another unit", NOW), NOW),
    ),
    "of another generation": (
        "signature does not verify",
        lambda _: crl(pki.card_authority("JPKI for user authentication", NOW), NOW),
    ),
    "signed by another key": (
        "signature does not verify",
        lambda user: crl(user, NOW, signed_by=generate_private_key(65537, 2048)),
    ),
    "one bit changed": (
        "signature does not verify",
        lambda user: crl(user, NOW, 0x0A0B0C0D).replace(bytes.fromhex("0a0b0c0d"), bytes.fromhex("0a0b0c0c")),
    ),
    "another hash": ("signature does not verify", lambda user: crl(user, NOW, algorithm=hashes.SHA384())),
    "no number": ("has no number", lambda user: crl(user, NOW, number=None)),
    "of tomorrow": ("not in force yet", lambda user: crl(user, NOW + DAY)),
    "only changes": ("only changes", lambda user: crl(user, NOW, more=((x509.DeltaCRLIndicator(1), True),))),
    "of one town": (
        "only a part",
        lambda user: crl(
            user,
            NOW,
            more=((point(full_name=[x509.DirectoryName(x509.Name([]))]), True),),
        ),
    ),
    "for others": ("only a part", lambda user: crl(user, NOW, more=((point(indirect_crl=True), True),))),
    "of some reasons": (
        "only a part",
        lambda user: crl(
            user, NOW, more=((point(only_some_reasons=frozenset([x509.ReasonFlags.key_compromise])), True),)
        ),
    ),
}


@pytest.mark.parametrize("how", WRONG)
def test_a_list_that_is_not_believed(user: pki.Issued, roots: dict[str, Root], how: str) -> None:
    text, wrong = WRONG[how]
    with pytest.raises(ConfigError, match=text):
        read(wrong(user), roots, NOW)


def lists(folder: Path, roots: dict[str, Root], *, required: bool = False) -> Revocations:
    folder.mkdir(exist_ok=True)
    return Revocations(folder, roots, required=required, grace=GRACE)


def test_each_authority_speaks_of_its_own(
    tmp_path: Path, roots: dict[str, Root], authorities: dict[Role, pki.Issued]
) -> None:
    of_user, of_signing = (key_id(authorities[role]) for role in (Role.USER, Role.SIGNING))
    (tmp_path / "a.crl").write_bytes(crl(authorities[Role.USER], NOW, 0xA))
    (tmp_path / "b.crl").write_bytes(crl(authorities[Role.SIGNING], NOW, 0xB))
    known = lists(tmp_path, roots)
    known.load(NOW)
    assert known.user_revoked(of_user, "a")
    assert not known.user_revoked(of_user, "b")
    assert not known.user_revoked("00", "a")
    assert known.signing_revoked(of_signing, "b")
    assert known.signing_revoked(None, "b")  # a card issued before its authority was recorded
    assert not known.signing_revoked(of_signing, "a")
    assert not known.signing_revoked(None, "a")
    assert not known.signing_revoked("00", "b")  # of another generation, with the same number


def test_from_current_to_overdue(tmp_path: Path, roots: dict[str, Root], user: pki.Issued) -> None:
    known = lists(tmp_path, roots)

    def conditions(now: datetime.datetime) -> dict[Role, Condition]:
        return {one.role: one.condition for one in known.states(now)}

    assert conditions(NOW) == {Role.USER: Condition.MISSING, Role.SIGNING: Condition.MISSING}
    assert known.reliable(NOW)
    assert not lists(tmp_path, roots, required=True).reliable(NOW)
    known.put(crl(user, NOW), NOW)
    for later, condition in (
        (DAY, Condition.CURRENT),
        (DAY + MINUTE, Condition.STALE),
        (DAY + GRACE, Condition.STALE),
        (DAY + GRACE + MINUTE, Condition.OVERDUE),
    ):
        assert conditions(NOW + later)[Role.USER] is condition
        assert known.reliable(NOW + later) is (condition is not Condition.OVERDUE)
    known.put(crl(user, NOW + 3 * DAY, number=2), NOW + 3 * DAY)
    assert known.reliable(NOW + 3 * DAY)
    assert known.states(user.certificate.not_valid_after_utc + DAY) == []  # an expired authority needs no list


def test_a_list_is_put_once_and_never_back(tmp_path: Path, roots: dict[str, Root], user: pki.Issued) -> None:
    known = lists(tmp_path, roots)
    second = crl(user, NOW, 0xA, number=2)
    assert known.put(second, NOW)[1]
    (path,) = tmp_path.iterdir()
    assert path.name == f"{key_id(user)}.crl"
    assert known.put(second, NOW) == (read(second, roots, NOW), False)
    with pytest.raises(AlreadyThere, match="list 2 of the same authority is newer than 1"):
        known.put(crl(user, NOW, number=1), NOW)
    assert path.read_bytes() == second
    again = lists(tmp_path, roots)
    again.load(NOW)
    assert again.user_revoked(key_id(user), "a")


def test_a_running_service_takes_what_is_new_and_keeps_what_was_good(
    tmp_path: Path, roots: dict[str, Root], user: pki.Issued, caplog: pytest.LogCaptureFixture
) -> None:
    known = lists(tmp_path, roots)
    known.load(NOW)
    path = tmp_path / "user.crl"
    path.write_bytes(crl(user, NOW, 0xA, number=2))
    known.refresh(NOW)
    assert known.user_revoked(key_id(user), "a")
    for broken in (b"junk", crl(user, NOW, number=1)):
        path.write_bytes(broken)
        known.refresh(NOW)
        known.refresh(NOW)
    path.unlink()
    known.refresh(NOW)
    assert known.user_revoked(key_id(user), "a")
    said = [(record.levelno, record.getMessage()) for record in caplog.records if record.levelno > logging.INFO]
    assert said == [
        (logging.ERROR, "a revocation list cannot be used; the last good one counts on"),
        (logging.WARNING, "an older revocation list is left aside"),
    ]


def test_what_time_mends_is_looked_at_again(
    tmp_path: Path, roots: dict[str, Root], user: pki.Issued, caplog: pytest.LogCaptureFixture
) -> None:
    known = lists(tmp_path, roots)
    known.load(NOW)
    (tmp_path / "early.crl").write_bytes(crl(user, NOW + DAY, 0xA))
    (tmp_path / "unreadable.crl").mkdir()
    for _ in range(3):
        known.refresh(NOW)
    assert not known.user_revoked(key_id(user), "a")
    known.refresh(NOW + DAY)
    assert known.user_revoked(key_id(user), "a")
    (tmp_path / "unreadable.crl").rmdir()
    (tmp_path / "unreadable.crl").write_bytes(crl(user, NOW, 0xB, number=2))
    known.refresh(NOW + DAY)
    assert known.user_revoked(key_id(user), "b")
    said = [vars(record)["error"] for record in caplog.records if record.levelno > logging.INFO]
    assert said == ["it is not in force yet", "Is a directory"]  # and not every time


def test_a_broken_list_at_the_start_is_named(tmp_path: Path, roots: dict[str, Root]) -> None:
    (tmp_path / "user.crl").write_bytes(b"junk")
    with pytest.raises(ConfigError, match=r"user\.crl: it is not a revocation list"):
        lists(tmp_path, roots).load(NOW)


def test_what_is_out_of_date_is_said_when_it_changes_and_every_hour(
    tmp_path: Path, roots: dict[str, Root], authorities: dict[Role, pki.Issued], caplog: pytest.LogCaptureFixture
) -> None:
    known = lists(tmp_path, roots)
    for authority in authorities.values():
        known.put(crl(authority, NOW), NOW)
    caplog.set_level(logging.INFO)
    for minutes in range(26 * 60):
        known.say(NOW + minutes * MINUTE)
    said = [record.levelno for record in caplog.records if "out of date" in record.getMessage()]
    assert said == [logging.ERROR] * 2 * 2  # a minute after 24 h, and an hour later, of both
    known.put(crl(authorities[Role.USER], NOW + 2 * DAY, number=2), NOW + 2 * DAY)
    known.say(NOW + 2 * DAY)
    assert "revocation list is current again" in caplog.text


async def test_the_watch_survives_what_nobody_foresaw(
    tmp_path: Path, roots: dict[str, Root], user: pki.Issued, caplog: pytest.LogCaptureFixture
) -> None:
    looks = 0

    def now() -> datetime.datetime:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise ZeroDivisionError
        return NOW

    known = lists(tmp_path, roots)
    (tmp_path / "user.crl").write_bytes(crl(user, NOW, 0xA))
    task = asyncio.create_task(known.watch(now, 0.01))
    async with asyncio.timeout(5):
        while not known.user_revoked(key_id(user), "a"):
            await asyncio.sleep(0.005)
    task.cancel()
    assert "revocation lists could not be looked at" in caplog.text


def test_an_authority_that_may_not_sign_lists(user: pki.Issued) -> None:
    usage = dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"), False)
    usage |= dict.fromkeys(("key_agreement", "crl_sign", "encipher_only", "decipher_only"), False)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(user.certificate.subject)
        .issuer_name(user.certificate.subject)
        .public_key(user.key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.KeyUsage(key_cert_sign=True, **usage), critical=True)
        .sign(user.key, hashes.SHA256())
    )
    with pytest.raises(ConfigError, match="does not verify"):
        read(crl(user, NOW), {"aa": Root(Role.USER, certificate)}, NOW)


async def test_the_watch_reads_and_ends(tmp_path: Path, roots: dict[str, Root], user: pki.Issued) -> None:
    known = lists(tmp_path, roots)
    task = asyncio.create_task(known.watch(lambda: NOW, 0.01))
    (tmp_path / "user.crl").write_bytes(crl(user, NOW, 0xA))
    async with asyncio.timeout(5):
        while not known.user_revoked(key_id(user), "a"):
            await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# What it means for a citizen.


def revoke(world: World, authorities: dict[Role, pki.Issued], role: Role, serial: int, number: int = 1) -> None:
    world.revocations.put(crl(authorities[role], world.clock.now(), serial, number=number), world.clock.now())


def serial_of(card: HeldCard, role: Role) -> int:
    certificates = {Role.USER: card.issued.user_certificate, Role.SIGNING: card.issued.signing_certificate}
    return certificates[role].serial_number


@pytest.mark.parametrize("role", list(Role))
async def test_a_revoked_certificate_is_refused_everywhere(
    world: World, authorities: dict[Role, pki.Issued], role: Role
) -> None:
    card, other = await world.card(), await world.card()
    await world.reserved(card)
    await world.reserved(other)
    running = await world.checked(card)
    revoke(world, authorities, role, serial_of(card, role))
    assert await running.authorize(card) is Refusal.CERTIFICATE_REVOKED
    assert (await (await world.attempt()).check(card)).refusal is Refusal.CERTIFICATE_REVOKED
    assert await world.reserve(card) is Refusal.CERTIFICATE_REVOKED
    assert isinstance(await (await world.checked(other)).authorize(other), Authorized)
    faults = [entry.detail for entry in await world.ledger() if entry.refusal is Refusal.CERTIFICATE_REVOKED]
    assert faults == ["revoked" if role is Role.USER else "signing_revoked"] * 2


async def test_nobody_begins_while_revocation_cannot_be_judged(
    world: World, authorities: dict[Role, pki.Issued]
) -> None:
    card = await world.card()
    revoke(world, authorities, Role.SIGNING, 1)
    for later, refusal in (
        (DAY, None),
        (DAY + GRACE, None),
        (DAY + GRACE + MINUTE, Refusal.MAINTENANCE),
    ):
        world.clock.time = NOW + later
        assert (await world.kiosks.status(KIOSK)).refusal is refusal
        begun = await world.kiosks.begin(KIOSK, new_id(), PROCEDURE)
        assert (begun.refusal if isinstance(begun, ServiceStatus) else None) is refusal
    assert isinstance(await world.reserve(card), Reservation)  # the kiosk judges it again
    revoke(world, authorities, Role.SIGNING, 1, number=2)
    assert isinstance(await world.kiosks.begin(KIOSK, new_id(), PROCEDURE), Attempt)


async def test_without_a_list_of_every_authority_no_attempt_begins(
    world: World, authorities: dict[Role, pki.Issued]
) -> None:
    """Unless the operator says that none is required; `init` makes empty ones for its own authority."""
    now, folder = world.clock.now(), world.directory / "authority"
    assert (await world.kiosks.status(KIOSK)).refusal is None
    (folder / f"{key_id(authorities[Role.SIGNING])}.crl").unlink()
    for config, reliable in ((Config(), False), (Config(revocation=Revocation(required=False)), True)):
        fresh = revocations_of(world.directory, config)
        fresh.load(now)
        assert fresh.reliable(now) is reliable
    put = crl(authorities[Role.SIGNING], now, 7)
    fresh = revocations_of(world.directory, Config())
    fresh.load(now)
    assert fresh.put(put, now)[1]
    assert fresh.reliable(now)


async def test_who_began_in_time_goes_on(world: World, authorities: dict[Role, pki.Issued]) -> None:
    revoke(world, authorities, Role.SIGNING, 1)
    world.clock.time = NOW + DAY + GRACE - MINUTE
    card = await world.card()
    await world.reserved(card)
    attempt = await world.attempt()
    world.clock.advance(2 * MINUTE)
    assert (await world.kiosks.status(KIOSK)).refusal is Refusal.MAINTENANCE
    assert (await attempt.check(card)).refusal is None  # by what was known; BeginAttempt's judgement is good 15 minutes
    assert isinstance(await attempt.authorize(card), Authorized)
