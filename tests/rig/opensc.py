"""OpenSC as the independent reader of the card: what it says is what a citizen's other software would see."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.rig.process import RigError, run, wait_until

# No foreign applets are probed, and no file cache: the serial of every such card is "00000000", so caches collide.
SETTINGS = "app default { card_drivers = jpki; framework pkcs15 { use_file_caching = no; } }\n"
USER_TOKEN = "JPKI (User Authentication PIN)"
SIGNING_TOKEN = "JPKI (Digital Signature PIN)"
CARD_SECONDS = 5.0
PIN_BLOCK = re.compile(r"^PIN \[(?P<name>.*)\](?P<body>(?:\n\t.*)*)", re.MULTILINE)
TRIES = re.compile(r"Tries left\s*: (\d+)")


@dataclass(frozen=True)
class Tries:
    """Tries left as OpenSC reads them."""

    user_pin: int
    signing_password: int


class OpenSC:
    """OpenSC's tools on one reader, with settings, home and cache of their own in `directory`."""

    def __init__(self, directory: Path, pcsc: Mapping[str, str], reader: str = "Kiosk 00 00") -> None:
        self._directory = directory
        self._reader = reader
        directory.mkdir(parents=True, exist_ok=True)
        settings = directory / "opensc.conf"
        settings.write_text(SETTINGS)
        self._environment = {
            **pcsc,
            "OPENSC_CONF": str(settings),
            "HOME": str(directory),
            "XDG_CACHE_HOME": str(directory / "cache"),
        }

    def tool(self, *words: str | Path) -> str:
        """Run one of OpenSC's tools, once the card is seen, and return its output. Raises RigError when it fails."""
        self.wait_for_card()
        name, *arguments = words
        return run([name, "--reader", self._reader, *arguments], env=self._environment)

    def wait_for_card(self) -> None:
        """Wait until a card is seen in the reader, without touching it: pcscd looks every 0.4 s. Raises RigError."""
        present = re.compile(rf"^\d+ +Yes .*{re.escape(self._reader)}$", re.MULTILINE)
        wait_until(
            lambda: present.search(run(["opensc-tool", "--list-readers"], env=self._environment)),
            CARD_SECONDS,
            f"a card in {self._reader}",
        )

    def dump(self) -> str:
        """Return `pkcs15-tool --dump`."""
        return self.tool("pkcs15-tool", "--dump")

    def tries_left(self) -> Tries:
        """Return the counters. Raises RigError when the card is not recognised."""
        text = self.dump()
        found = {
            block["name"]: int(tries[1]) for block in PIN_BLOCK.finditer(text) if (tries := TRIES.search(block[0]))
        }
        try:
            return Tries(found["User Authentication PIN"], found["Digital Signature PIN"])
        except KeyError:
            raise RigError(f"no counters in:\n{text}") from None

    def certificate(self, identifier: int, pin: str | None = None) -> str:
        """Return a certificate as PEM: 1 user, 2 signing (wants the password), 3 user's authority, 4 signing's."""
        out = self._directory / f"certificate-{identifier}.pem"
        login = () if pin is None else ("--verify-pin", "--auth-id", f"{identifier:02d}", "--pin", pin)
        self.tool("pkcs15-tool", *login, "--read-certificate", str(identifier), "--output", out)
        return out.read_text()

    def sign(self, token: str, key: int, pin: str, data: bytes) -> bytes:
        """Sign through the PKCS#11 module (RSASSA-PKCS1-v1_5, SHA-256). Raises RigError when the card refuses."""
        source, out = self._directory / "data", self._directory / "signature"
        source.write_bytes(data)
        out.unlink(missing_ok=True)
        command: list[str | Path] = [
            "pkcs11-tool",
            "--module",
            module(),
            "--token-label",
            token,
            "--login",
            "--pin",
            pin,
        ]
        command += ["--sign", "--id", f"{key:02d}", "--mechanism", "SHA256-RSA-PKCS"]
        self.wait_for_card()
        run([*command, "--input-file", source, "--output-file", out], env=self._environment)
        return out.read_bytes()

    def verify(self, certificate: str, data: bytes, signature: bytes) -> bool:
        """Ask openssl whether the signature over the data is by this certificate's key."""
        key, source, out = self._directory / "key.pem", self._directory / "data", self._directory / "signature"
        key.write_text(run(["openssl", "x509", "-pubkey", "-noout"], stdin=certificate))
        source.write_bytes(data)
        out.write_bytes(signature)
        try:
            return "Verified OK" in run(["openssl", "dgst", "-sha256", "-verify", key, "-signature", out, source])
        except RigError:
            return False

    def issued_by(self, certificate: str, authority: Path) -> bool:
        """Ask openssl whether the certificate verifies under this authority."""
        try:
            return ": OK" in run(["openssl", "verify", "-CAfile", authority], stdin=certificate)
        except RigError:
            return False


def module() -> Path:
    """Return OpenSC's PKCS#11 module. Raises RigError when it is not installed."""
    for path in sorted(Path("/usr/lib").glob("*/opensc-pkcs11.so")):
        return path
    raise RigError("opensc-pkcs11.so is not installed")
