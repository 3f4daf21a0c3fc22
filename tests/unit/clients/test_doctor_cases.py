"""Every sentence that a check of the doctor can say, said once, with its remedy; and each check in order.

The table is held to the code: a check, or a sentence of one, without its case fails. What is seen of the system is made
up here; by real causes the checks are tried in test_doctor_files.py and tests/system/test_doctor.py.
"""

from __future__ import annotations

import datetime
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from jpkireset.gateway.v1.gateway_service_pb2 import READINESS_PROBLEM_OUT_OF_HOURS, Status

from docs.doctor import ANY, sentences
from gatewayctl.doctor import betrayal, centre
from gatewayctl.doctor.examination import CHECKS
from gatewayctl.doctor.finding import Verdict
from gatewayctl.doctor.way import Way
from gatewayd.journal.schema import MIGRATIONS
from tests.unit.clients.doctor_world import World, refusing, someone
from tests.unit.clients.test_doctor_files import NOW

OK, UNKNOWN, WARN, FAIL = Verdict.OK, Verdict.UNKNOWN, Verdict.WARN, Verdict.FAIL
INIT, ELSEWHERE = 1, 65534  # a process that is always there, a user
DAY = datetime.timedelta(days=1)
RUNS = "… runs, or will be started, with"


Arrangement = Callable[[World], object]


class Case:
    """What is arranged, and what is said then: the sentence as docs/DOCTOR.md has it."""

    def __init__(self, verdict: Verdict, sentence: str, *arranged: Arrangement) -> None:
        self.verdict = verdict
        self.sentence = sentence
        self.arranged = arranged


def both(version: str) -> Arrangement:
    return lambda w: w.versions(version, version)


def way(word: str) -> Arrangement:
    return lambda w: w.seen(way=Way(word, "detail"))


def spied_on_by(name: str) -> Arrangement:
    return lambda w: w.seen(daemon=someone("gatewayd", environment={name: "1"}))


CASES: dict[str, list[Case]] = {
    "configuration": [
        Case(
            FAIL, "…: … cannot be so; the daemon does not start with it.", lambda w: w.configured(wrong=("api.socket",))
        ),
        Case(OK, "… can be read and names all that is needed."),
        Case(UNKNOWN, "…", lambda w: w.hide(w.config)),
        Case(FAIL, "…", lambda w: w.config.write_text("[reader")),
        Case(FAIL, "Others than its owner may write to ….", lambda w: w.config.chmod(0o666)),
    ],
    "daemon": [
        Case(OK, "gatewayd 0.1.0 answers and is ready."),
        Case(FAIL, "gatewayd does not run.", lambda w: w.seen(daemon=None, status_or_why="UNAVAILABLE: …")),
        Case(FAIL, "gatewayd runs and does not answer (…).", lambda w: w.seen(status_or_why="DEADLINE_EXCEEDED: late")),
        Case(
            UNKNOWN,
            "gatewayd runs, and this user may not ask it anything.",
            lambda w: w.seen(status_or_why="UNAVAILABLE: Permission denied"),
        ),
        Case(
            WARN,
            "gatewayd answers and is not ready: ….",
            lambda w: w.seen(status_or_why=Status(problems=[READINESS_PROBLEM_OUT_OF_HOURS])),
        ),
        Case(
            WARN,
            "… attempts are unresolved.",
            lambda w: w.seen(status_or_why=Status(ready=True, unresolved_attempts=2)),
        ),
    ],
    "sockets": [
        Case(OK, "Both sockets are served, each open to its group alone."),
        Case(FAIL, "The socket for …, …, is not there.", lambda w: w.api.unlink()),
        Case(UNKNOWN, "… cannot be seen: ….", lambda w: w.hide(w.api)),
        Case(
            FAIL,
            "Others than its owner may write to …, and put a socket of their own there.",
            lambda w: w.operators.parent.chmod(0o777),
        ),
        Case(FAIL, "… is owned by ….", lambda w: w.give(w.operators.parent, ELSEWHERE)),
        Case(FAIL, "… is no socket.", lambda w: w.api.unlink(), lambda w: w.api.write_text("")),
        Case(FAIL, "Every user of this machine may connect to … (mode …).", lambda w: w.api.chmod(0o666)),
        Case(FAIL, "… is owned by …, and not by the daemon's user.", lambda w: w.give(w.api, ELSEWHERE)),
        Case(UNKNOWN, "The kernel does not tell who serves a socket.", lambda w: w.seen(sockets=None)),
        Case(FAIL, "… is …'s with mode …, and not …'s with 0660.", lambda w: w.api.chmod(0o600)),
        Case(FAIL, "… is open to the group …, which no configuration says.", lambda w: w.configured(api_group="")),
        Case(
            WARN,
            "… is open to the daemon's own user only.",
            lambda w: w.configured(api_group=""),
            lambda w: w.api.chmod(0o600),
        ),
        Case(FAIL, "Nobody serves ….", lambda w: w.seen(sockets=[])),
        Case(FAIL, "There is no group ….", lambda w: w.configured(api_group="no-such-group")),
    ],
    "pcsc-versions": [
        Case(OK, "pcscd 2.4.1, libpcsclite 2.4.1, pyscard …."),
        Case(FAIL, "pyscard is not installed.", lambda w: w.binding("")),
        Case(WARN, "pyscard … is older than the tested 2.3.1.", lambda w: w.binding("2.2.0")),
        Case(FAIL, "There is no pcscd, or it does not tell its version.", lambda w: w.versions("", "2.4.1")),
        *(Case(FAIL, "… … is known to be bad: ….", both(version)) for version in ("1.9.0", "2.3.2", "2.5.0")),
        Case(
            UNKNOWN,
            "The version of libpcsclite cannot be told: it belongs to no package.",
            lambda w: w.versions("2.4.1", ""),
        ),
        Case(
            WARN,
            "libpcsclite … and pcscd … are of two versions, which fit only by luck.",
            lambda w: w.versions("2.0.0", "2.0.1"),
        ),
        Case(
            WARN,
            "pcscd was replaced on the disk and still runs as it was.",
            lambda w: w.seen(pcscds=[someone("pcscd", replaced=True)]),
        ),
    ],
    "pcsc-service": [
        Case(OK, "pcscd serves the reader Kiosk."),
        Case(
            UNKNOWN,
            "pcscd (polkit) refuses this user, which says nothing of the daemon's own user.",
            lambda w: w.pcsc("security_violation"),
        ),
        Case(FAIL, "libpcsclite and pcscd do not speak the same protocol.", lambda w: w.pcsc("service_stopped")),
        Case(FAIL, "pcscd takes calls and does not answer them.", lambda w: w.pcsc("silent")),
        Case(FAIL, "PC/SC cannot be used: ….", lambda w: w.pcsc("unusable")),
        Case(
            UNKNOWN,
            "This user may not connect to pcscd's socket.",
            lambda w: w.pcsc("no_service"),
            lambda w: w.patch.setenv("PCSCLITE_CSOCK_NAME", str(w.api)),
            lambda w: w.patch.setattr(os, "access", lambda *_: False),
        ),
        Case(
            FAIL,
            "pcscd does not serve (…).",
            lambda w: w.pcsc("no_service"),
            lambda w: w.patch.setenv("PCSCLITE_CSOCK_NAME", str(w.folder / "none")),
        ),
        Case(
            UNKNOWN,
            "pcscd serves these readers: …. Which is meant is not known.",
            lambda w: w.config.write_text("[reader"),
        ),
        Case(WARN, "The card on the reader answers nothing.", lambda w: w.slot(card=True, mute=True)),
        Case(FAIL, "No reader is called …; there are: ….", lambda w: w.pcsc("success", "Another")),
        Case(FAIL, "… readers are called …: ….", lambda w: w.pcsc("success", "Kiosk 00 00", "Kiosk 01 00")),
    ],
    "reader-holder": [
        Case(OK, "Nobody has the reader."),
        Case(OK, "gatewayd has the reader.", lambda w: w.seen(metrics={"gatewayd_reader_lock_held": 1.0})),
        Case(
            FAIL,
            "gatewayd has held the reader for … s, longer than any job lasts.",
            lambda w: w.seen(metrics={"gatewayd_reader_lock_held": 1.0, "gatewayd_reader_lock_age_seconds": 61.0}),
        ),
        Case(
            FAIL, "The reader is held by ….", lambda w: w.slot(card=True, exclusive=True), lambda w: w.connected(INIT)
        ),
        Case(WARN, "Other programs speak to pcscd: ….", lambda w: w.connected(INIT)),
        Case(UNKNOWN, "… connections to pcscd belong to programs that this user cannot see.", lambda w: w.connected()),
        Case(UNKNOWN, "pcscd does not tell of the reader.", lambda w: w.pcsc("success")),
    ],
    "pcsc-debug": [
        Case(OK, "Nothing that is running or installed logs commands to the card."),
        Case(
            FAIL,
            "PC/SC's spy library … is in the place of libpcsclite.",
            lambda w: w.pcsc("success", "Kiosk", library="/usr/lib/libpcscspy.so.0"),
        ),
        Case(
            UNKNOWN,
            "The environment of … cannot be seen by this user.",
            lambda w: w.seen(pcscds=[someone("pcscd", environment=None)]),
        ),
        Case(
            FAIL,
            f"{RUNS} --apdu, which logs every command.",
            lambda w: w.seen(pcscds=[someone("pcscd", "--apdu")]),
        ),
        Case(
            WARN,
            f"{RUNS} --debug, which is one setting of the driver away from logging commands.",
            lambda w: w.seen(pcscds=[someone("pcscd", "--debug")]),
        ),
        Case(
            FAIL,
            f"{RUNS} --debug, while the reader's driver is set to log commands.",
            lambda w: w.driver("0x0007"),
            lambda w: w.seen(pcscds=[someone("pcscd", "-fd")]),
        ),
        Case(
            FAIL,
            f"{RUNS} LD_PRELOAD of a spy library.",
            lambda w: w.seen(daemon=someone("gatewayd", environment={"LD_PRELOAD": "/usr/lib/libpcscspy.so"})),
        ),
        Case(
            FAIL,
            f"{RUNS} LIBCCID_ifdLogLevel: the reader's driver logs commands.",
            lambda w: w.seen(pcscds=[someone("pcscd", environment={"LIBCCID_ifdLogLevel": "0x0F"})]),
        ),
        *(Case(FAIL, f"{RUNS} …: ….", spied_on_by(name)) for name in betrayal.SPIES),
    ],
    "certificates": [
        Case(OK, "Certificate and key are a pair, valid until 2099-…."),
        Case(WARN, "The key was replaced on the disk; the running daemon has the one before.", World.credential),
        Case(UNKNOWN, "… may not be read by this user.", lambda w: w.hide(w.pki.kiosk)),
        Case(FAIL, "…: ….", lambda w: w.pki.authority.unlink()),
        Case(FAIL, "…: ….", lambda w: w.pki.kiosk_key.unlink()),
        Case(FAIL, "… holds no certificate in PEM form.", lambda w: w.pki.kiosk.write_text("no PEM")),
        Case(
            FAIL, "The certificate names no kiosk.", lambda w: w.certified(x509.DNSName("kiosk"), until=NOW + 99 * DAY)
        ),
        Case(
            FAIL,
            "The certificates in the kiosk's file are no chain.",
            lambda w: w.pki.kiosk.write_bytes(
                w.pki.kiosk.read_bytes() + (w.other_pki() / "authority.pem").read_bytes()
            ),
        ),
        Case(FAIL, "… is not valid before …Z.", lambda w: w.at(2019)),
        Case(FAIL, "… has expired on …Z.", lambda w: w.certified(until=NOW - DAY)),
        Case(WARN, "… expires on …, in … days.", lambda w: w.certified(until=NOW + 29 * DAY)),
        Case(
            FAIL,
            "Every user of this machine may read the private key … (mode …).",
            lambda w: w.pki.kiosk_key.chmod(0o644),
        ),
        Case(
            FAIL,
            "Key and certificate are no pair.",
            lambda w: shutil.copyfile(w.other_pki() / "kiosk.key", w.pki.kiosk_key),
        ),
        Case(
            UNKNOWN,
            "The key may not be read by this user, as it should be: the pair is not checked.",
            lambda w: w.hide(w.pki.kiosk_key),
        ),
        Case(
            FAIL,
            "… holds no private key in PEM form, or one with a password.",
            lambda w: w.pki.kiosk_key.write_text("no PEM"),
        ),
    ],
    "centre": [
        Case(OK, "The centre serves this kiosk."),
        *(
            Case(
                OK,
                "The centre serves this kiosk; just now no attempt begins (…).",
                way(word),
            )
            for word in ("out_of_hours", "maintenance")
        ),
        Case(
            OK,
            "The centre is there, shows a good certificate, and serves the daemon.",
            lambda w: w.seen(way=Way("hidden")),
        ),
        Case(UNKNOWN, "The way was not gone: ….", lambda w: w.seen(way=Way("files", "no such file"))),
        Case(
            UNKNOWN,
            "The centre is there with a good certificate; whether it serves this kiosk is not seen without the key.",
            lambda w: w.seen(way=Way("hidden"), status_or_why="UNAVAILABLE: …"),
        ),
        Case(
            FAIL,
            "The centre is there, and the daemon cannot use it: ….",
            lambda w: w.seen(way=Way("hidden"), status_or_why=Status(central_detail="denied")),
        ),
        *(
            Case(
                FAIL,
                said.format(host=ANY, address=ANY, detail=ANY),
                way(word),
            )
            for word, (said, _) in centre.STEPS.items()
        ),
    ],
    "clock": [
        Case(OK, "This clock is 0.1 s behind the centre's (asked now)."),
        Case(
            OK,
            "This clock is 0.5 s ahead of the centre's (as the daemon last heard).",
            lambda w: w.seen(way=Way("refused"), metrics={"gatewayd_clock_skew_seconds": -0.5}),
        ),
        Case(UNKNOWN, "The centre's time could not be had.", lambda w: w.seen(way=Way("refused"))),
        Case(WARN, "This clock is … s … the centre's.", lambda w: w.seen(way=Way("open", skew_s=-5.1))),
        Case(FAIL, "This clock is … s … the centre's.", lambda w: w.seen(way=Way("open", skew_s=120.1))),
    ],
    "disk": [
        Case(OK, "… MiB are free where the journal is."),
        Case(FAIL, "… is on a file system mounted read-only.", lambda w: w.disk(flags=os.ST_RDONLY)),
        Case(WARN, "… MiB are free where the journal is.", lambda w: w.disk(mib=199)),
        Case(FAIL, "… MiB are free where the journal is.", lambda w: w.disk(mib=19)),
        Case(FAIL, "There is no free inode where the journal is.", lambda w: w.disk(inodes=0)),
        Case(FAIL, "The folder … is not there.", lambda w: w.no_disk(FileNotFoundError)),
        Case(UNKNOWN, "… cannot be seen: ….", lambda w: w.no_disk(PermissionError)),
    ],
    "journal": [
        Case(OK, "The journal is whole, … KiB.", World.kept),
        Case(FAIL, "… is no file.", lambda w: os.mkfifo(w.journal, 0o600)),
        Case(FAIL, "Others than its owner may read ….", lambda w: w.kept(), lambda w: w.journal.chmod(0o640)),
        Case(WARN, "… MiB wait beside the journal.", lambda w: w.kept_with(WAL_WARN=-1)),
        Case(UNKNOWN, "The journal is too large to be checked here.", lambda w: w.kept_with(LARGEST_CHECKED=0)),
        Case(UNKNOWN, "… cannot be seen: ….", lambda w: w.kept(), lambda w: w.hide(w.journal)),
        Case(WARN, "There is no journal … yet.", lambda w: w.seen(daemon=None)),
        Case(FAIL, "The journal … was removed under the daemon."),
        Case(UNKNOWN, "The journal changes faster than it can be copied.", lambda w: w.kept_with(COPIES=0)),
        Case(
            UNKNOWN,
            "… may not be read: ….",
            lambda w: w.kept(),
            lambda w: w.patch.setattr(shutil, "copyfile", refusing(PermissionError)),
        ),
        Case(
            FAIL,
            "SQLite cannot read the journal: ….",
            lambda w: w.journal.write_bytes(b"no database at all" * 300),
            lambda w: w.journal.chmod(0o600),
        ),
        Case(
            FAIL,
            "The journal is damaged.",
            lambda w: w.kept(
                "CREATE TABLE odd (a CHECK (a > 0)); PRAGMA ignore_check_constraints = ON; INSERT INTO odd VALUES (0)"
            ),
        ),
        Case(
            FAIL,
            "A newer gatewayd wrote the journal (tables …, known here …).",
            lambda w: w.kept(f"PRAGMA user_version = {len(MIGRATIONS) + 1}"),
        ),
        Case(FAIL, "The journal has no tables.", lambda w: w.kept("PRAGMA user_version = 0")),
        Case(
            FAIL,
            "Entries of the journal belong to no attempt.",
            lambda w: w.kept("PRAGMA foreign_keys = OFF; DELETE FROM attempts"),
        ),
    ],
}


def as_pattern(sentence: str) -> str:
    """Return the regular expression of a sentence in which some words are left open."""
    return ".+".join(map(re.escape, sentence.split(ANY)))


@pytest.mark.parametrize("check", CHECKS)
def test_each_check_has_a_case_in_order_and_one_for_all_it_can_say(check: str) -> None:
    said = {(verdict, sentence) for verdict, sentence, _ in sentences(CHECKS[check])}
    assert said == {(case.verdict.value, case.sentence) for case in CASES[check] if case.verdict is not OK}
    assert {OK, FAIL} <= {case.verdict for case in CASES[check]}


@pytest.mark.parametrize(
    ("check", "case"),
    [(check, case) for check, cases in CASES.items() for case in cases],
    ids=[f"{check}: {case.verdict.value}: {case.sentence}" for check, cases in CASES.items() for case in cases],
)
def test_a_case(check: str, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch)
    for arrange in case.arranged:
        arrange(world)
    found = world.examined(check)
    said = case.sentence.replace(RUNS, f"{ANY} runs with")
    assert (found.check, found.verdict) == (check, case.verdict), found
    assert re.fullmatch(as_pattern(said), found.summary), found
    remedies = {
        remedy
        for verdict, sentence, remedy in sentences(CHECKS[check])
        if (verdict, sentence) == (case.verdict.value, case.sentence)
    }
    assert case.verdict is OK or any(re.fullmatch(as_pattern(remedy), found.remedy) for remedy in remedies), found
    assert bool(found.remedy) is (case.verdict is not OK)
