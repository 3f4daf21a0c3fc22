"""Check of the three files of the central channel."""

from __future__ import annotations

import datetime
import itertools
import re
import stat
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gatewayctl.doctor import units
from gatewayctl.doctor.evidence import Evidence
from gatewayctl.doctor.finding import Finding, Findings

SOON = datetime.timedelta(days=30)
OTHERS = 0o007
_ID = "[a-z0-9-]{1,32}"
_KIOSK_URI = re.compile(f"spiffe://jpki-reset/chain/({_ID})/store/({_ID})/kiosk/({_ID})")
CHECK_CLOCK = "Check this machine's clock: timedatectl."
RENEW = "Have the centre issue new files (centrald kiosk renew), put them in place, then systemctl restart gatewayd."


def certificates(evidence: Evidence) -> Finding:
    """The kiosk's certificate, its key, the centre's authority: a pair, a chain, the key hidden, valid for 30 days."""
    findings = Findings("certificates")
    settings = evidence.settings
    chain = _read(findings, settings.certificate)
    anchors = _read(findings, settings.authority)
    if chain:
        _judge_kiosk(findings, chain)
        _judge_dates(findings, "The kiosk's certificate", chain, evidence.now)
        _judge_key(findings, settings.key, chain[0])
    if _replaced(evidence, settings.key):
        findings.warn(
            "The key was replaced on the disk; the running daemon has the one before.", "systemctl restart gatewayd"
        )
    if anchors:
        _judge_dates(findings, "The centre's authority", anchors, evidence.now)
    findings.ok(f"Certificate and key are a pair, valid until {findings.facts.get('client_not_after')}.")
    return findings.finding()


def _replaced(evidence: Evidence, key: Path) -> bool:
    """Tell whether the key is a credential of systemd's, and is not what systemd would load now."""
    source = units.credential_source(evidence.root, key.name)
    if source is None or key != units.loaded_credential(evidence.root, key.name):
        return False
    try:
        return key.read_bytes() != source.read_bytes()
    except OSError:
        return False


def _read(findings: Findings, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except PermissionError:
        findings.unknown(f"{path} may not be read by this user.", "Run this as root.")
    except OSError as error:
        findings.fail(f"{path}: {error.strerror}.", "Put the file in place, or correct the configuration.")
    except ValueError:
        findings.fail(f"{path} holds no certificate in PEM form.", RENEW)
    return []


def _judge_kiosk(findings: Findings, chain: list[x509.Certificate]) -> None:
    try:
        names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    match = _KIOSK_URI.fullmatch(uris[0]) if len(uris) == 1 else None
    if match is None:
        findings.fail("The certificate names no kiosk.", RENEW)
    else:
        findings.facts["kiosk_id"] = "/".join(match.groups())
    for one, issuer in itertools.pairwise(chain):
        try:
            one.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            findings.fail("The certificates in the kiosk's file are no chain.", RENEW)


def _judge_dates(findings: Findings, what: str, chain: list[x509.Certificate], now: datetime.datetime) -> None:
    begin = max(one.not_valid_before_utc for one in chain)
    end = min(one.not_valid_after_utc for one in chain)
    role = "client" if what.startswith("The kiosk") else "authority"
    findings.facts[f"{role}_not_after"] = f"{end:%Y-%m-%dT%H:%M:%SZ}"
    if now < begin:
        findings.fail(f"{what} is not valid before {begin:%Y-%m-%d %H:%M}Z.", CHECK_CLOCK)
    elif now > end:
        findings.fail(f"{what} has expired on {end:%Y-%m-%d %H:%M}Z.", RENEW)
    elif end - now < SOON:
        findings.warn(f"{what} expires on {end:%Y-%m-%d}, in {(end - now).days} days.", RENEW)


def _judge_key(findings: Findings, path: Path, certificate: x509.Certificate) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        key = load_pem_private_key(path.read_bytes(), password=None)
    except PermissionError:
        findings.unknown(
            "The key may not be read by this user, as it should be: the pair is not checked.", "Run this as root."
        )
        return
    except OSError as error:
        findings.fail(f"{path}: {error.strerror}.", "Put the file in place, or correct the configuration.")
        return
    except (ValueError, TypeError, UnsupportedAlgorithm):
        findings.fail(f"{path} holds no private key in PEM form, or one with a password.", RENEW)
        return
    if mode & OTHERS:
        findings.fail(
            f"Every user of this machine may read the private key {path} (mode {mode:04o}).",
            f"chmod o-rwx {path}, and have a new certificate issued: the key may be known.",
        )
    if key.public_key() != certificate.public_key():
        findings.fail("Key and certificate are no pair.", RENEW)
