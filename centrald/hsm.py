"""Keys that never leave a PKCS #11 token: what is computed with them, is computed inside.

Source: PKCS #11 Cryptographic Token Interface, OASIS, version 3.0; PKCS11-MECH is its Current Mechanisms. The module
python-pkcs11 is only loaded where a token is configured.
"""

from __future__ import annotations

import asyncio
import contextlib
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from centrald.errors import AlreadyThere, ConfigError, KeysUnavailable

if TYPE_CHECKING:
    import pkcs11

_T = TypeVar("_T")

BLOCK_BYTES = 16  # AES
_KEY_BITS = 256
_R_128 = 0x87  # SP 800-38B 5.3: R for a block of 128 bits
_PADDING = b"\x80"  # SP 800-38B 6.2
_ANSWER_SECONDS = 2.0  # a kiosk waits 5 s for AuthorizeReset


class Token:
    """One session with one token, on a thread of its own: a token that is slow or stuck delays nobody else."""

    def __init__(self, module: str, label: str, pin: str, seconds: float = _ANSWER_SECONDS) -> None:
        self._module = module
        self._label = label
        self._pin = pin
        self._seconds = seconds
        self._session: pkcs11.Session | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pkcs11")

    def __repr__(self) -> str:
        return f"Token({self._label!r})"

    def key(self, label: str) -> TokenKey:
        """Return the AES-256 key of this label; raises ConfigError when it is missing, or may leave the token."""
        return self.at_once(lambda session: TokenKey(self, label, cmac_inside=_examined(session, label)))

    def generate(self, label: str) -> None:
        """Make a new key in the token that never leaves it; raises AlreadyThere, ConfigError."""
        self.at_once(lambda session: _generate(session, label), writing=True)

    def close(self) -> None:
        """End the session; a token that is stuck is left to itself."""
        with contextlib.suppress(TimeoutError):
            self._thread.submit(self._forget).result(self._seconds)
        self._thread.shutdown(wait=False)

    async def run(self, work: Callable[[pkcs11.Session], _T]) -> _T:
        """Do something with the session; raises KeysUnavailable.

        A session that is lost is opened again, once. Waits at most 2 s, and what was not begun by then never is.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.wrap_future(self._thread.submit(self._work, work))
        except TimeoutError:
            raise KeysUnavailable("the card keys cannot be used now") from None

    def at_once(self, work: Callable[[pkcs11.Session], _T], *, writing: bool = False) -> _T:
        """Do something while a command or the start of the service waits; raises ConfigError for every failure."""
        try:
            from pkcs11.exceptions import PKCS11Error
        except ImportError:
            raise ConfigError("a master key in a token needs the package jpki-centrald[pkcs11]") from None

        def once() -> _T:
            try:
                return work(self._open(writing=writing))
            except (PKCS11Error, RuntimeError, OSError) as error:
                raise ConfigError(f"token {self._label}: {type(error).__name__}") from None

        try:
            return self._thread.submit(once).result(self._seconds)
        except TimeoutError:
            raise ConfigError(f"token {self._label}: no answer in {self._seconds:g} s") from None

    def _work(self, work: Callable[[pkcs11.Session], _T]) -> _T:
        from pkcs11.exceptions import PKCS11Error

        for last in (False, True):
            try:
                return work(self._open())
            except (PKCS11Error, RuntimeError, OSError) as error:
                self._forget()
                if last:
                    raise KeysUnavailable("the card keys cannot be used now") from error
        raise AssertionError("unreachable")

    def _open(self, *, writing: bool = False) -> pkcs11.Session:
        import pkcs11

        if writing:
            self._forget()  # what is open reads only
        if self._session is None:
            token = pkcs11.lib(self._module).get_token(token_label=self._label)
            try:
                self._session = token.open(rw=writing, user_pin=self._pin)
            except pkcs11.UserAlreadyLoggedIn:  # whoever logs in, does so for the whole process
                self._session = token.open(rw=writing)
        return self._session

    def _forget(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(Exception):  # it may be lost already, whatever the library calls that
                session.close()


class TokenKey:
    """A master key in a token; see `centrald.cardkeys.MasterKey`."""

    def __init__(self, token: Token, label: str, *, cmac_inside: bool) -> None:
        self._token = token
        self._label = label
        self._cmac_inside = cmac_inside

    def __repr__(self) -> str:
        return f"TokenKey({self._token!r}, {self._label!r})"

    def cmac(self, message: bytes) -> bytes:
        """See `centrald.cardkeys.MasterKey`."""
        return self._token.at_once(lambda session: self._compute(session, message))

    async def cmac_all(self, messages: list[bytes]) -> list[bytes]:
        """Return one AES-CMAC (16 bytes) for each message; raises KeysUnavailable."""
        return await self._token.run(lambda session: [self._compute(session, message) for message in messages])

    def _compute(self, session: pkcs11.Session, message: bytes) -> bytes:
        from pkcs11 import Mechanism, NoSuchKey

        found = _find(session, self._label)
        if not found:  # so it looks to a session that is no longer logged in
            raise NoSuchKey
        key = found[0]
        if self._cmac_inside:
            return bytes(key.sign(message, mechanism=Mechanism.AES_CMAC))  # PKCS11-MECH 2.15
        return cmac_of_blocks(lambda block: bytes(key.encrypt(block, mechanism=Mechanism.AES_ECB)), message)


def read_pin(path: Path) -> str:
    """Read a token's PIN, one line; raises ConfigError when the file is missing, empty or open to others."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"{path} must be readable by its owner only (mode 0600)")
        pin = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{path} holds no PIN") from None
    if not pin:
        raise ConfigError(f"{path} holds no PIN")
    return pin


def cmac_of_blocks(encrypt: Callable[[bytes], bytes], message: bytes) -> bytes:
    """Return AES-CMAC (SP 800-38B 6.2) by a token that only encrypts blocks of 16 bytes."""
    subkey = _doubled(encrypt(bytes(BLOCK_BYTES)))  # K1; 6.1
    whole = bool(message) and len(message) % BLOCK_BYTES == 0
    if not whole:
        message += _PADDING
        message += bytes(-len(message) % BLOCK_BYTES)
        subkey = _doubled(subkey)  # K2
    chained = bytes(BLOCK_BYTES)
    for at in range(0, len(message), BLOCK_BYTES):
        block = message[at : at + BLOCK_BYTES]
        if at + BLOCK_BYTES == len(message):
            block = _xor(block, subkey)
        chained = encrypt(_xor(chained, block))
    return chained


def _doubled(block: bytes) -> bytes:
    doubled = int.from_bytes(block, "big") << 1
    if doubled >> (8 * BLOCK_BYTES):
        doubled = (doubled ^ _R_128) & ((1 << (8 * BLOCK_BYTES)) - 1)
    return doubled.to_bytes(BLOCK_BYTES, "big")


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _find(session: pkcs11.Session, label: str) -> list[Any]:
    """Return the AES keys of this label; what they can do, python-pkcs11 mixes into their class by the token's word."""
    from pkcs11 import Attribute, KeyType, ObjectClass

    wanted = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES, Attribute.LABEL: label}
    return list(session.get_objects(wanted))  # to its end: a search that is left open blocks the session


def _examined(session: pkcs11.Session, label: str) -> bool:
    """Refuse a key that may leave its token; tell whether the token computes AES-CMAC itself."""
    from pkcs11 import Attribute, Mechanism

    found = _find(session, label)
    if len(found) != 1:
        raise ConfigError(f"the token holds {'several AES keys' if found else 'no AES key'} {label}")
    (key,) = found
    if key.key_length != _KEY_BITS:
        raise ConfigError(f"key {label} must have {_KEY_BITS} bits")
    if key[Attribute.EXTRACTABLE] or not key[Attribute.SENSITIVE]:
        raise ConfigError(f"key {label} may leave its token: it must be sensitive and not extractable")
    return bool(key[Attribute.SIGN]) and Mechanism.AES_CMAC in session.token.slot.get_mechanisms()


def _generate(session: pkcs11.Session, label: str) -> None:
    from pkcs11 import Attribute, KeyType, MechanismFlag

    if _find(session, label):
        raise AlreadyThere(f"the token holds a key {label} already")
    session.generate_key(
        KeyType.AES,
        _KEY_BITS,
        label=label,
        store=True,
        capabilities=MechanismFlag.SIGN | MechanismFlag.ENCRYPT,
        template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
    )
