"""Tokens of virtual keys: how they look, and what is kept of them.

A token is `curb_`, eight characters by which it is found and shown, `_`, and 43 characters of
chance (256 bits). It is shown once; what is kept is an HMAC-SHA256 under a secret of the server,
so that neither a copy of the database nor the right to write to it makes a working token.
"""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.errors import ConfigurationError

_READABLE = "23456789abcdefghjkmnpqrstuvwxyz"  # nothing that is taken for something else when read aloud
_ALPHABET = string.digits + string.ascii_letters
_PREFIX_CHARACTERS = 8
_ID_CHARACTERS = 10
_SECRET_CHARACTERS = 43  # 62 ** 43 > 2 ** 256
_SHORTEST_SECRET = 32
_TOKEN = re.compile(
    rf"(curb_[{_READABLE}]{{{_PREFIX_CHARACTERS}}})_[{_ALPHABET}]{{{_SECRET_CHARACTERS}}}", re.ASCII
)


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made. Only its prefix and its digest are to be kept."""

    prefix: str
    text: str

    def __repr__(self) -> str:
        return f"NewToken({self.prefix}…)"


def new_token() -> NewToken:
    """Make a token of 256 random bits."""
    prefix = f"curb_{_random(_READABLE, _PREFIX_CHARACTERS)}"
    return NewToken(prefix, f"{prefix}_{_random(_ALPHABET, _SECRET_CHARACTERS)}")


def new_key_id() -> str:
    """Make an id for a key: it is part of scopes and call keys, so there is no ':' in it."""
    return f"k{_random(_READABLE, _ID_CHARACTERS)}"


def prefix_of(token: str) -> str:
    """The part by which a token is found; '' when it is not one of ours."""
    found = _TOKEN.fullmatch(token)
    return found[1] if found else ""


class TokenSecrets:
    """The secrets that tokens are kept under: the first makes new digests, all of them check.

    by_id: in order, each under its fingerprint, which is kept beside a digest so that a secret
    that was changed is noticed.
    """

    def __init__(self, texts: tuple[str, ...]) -> None:
        for text in texts:
            if len(text) < _SHORTEST_SECRET:
                raise ConfigurationError(
                    f"CURB_KEY_SECRET: each secret needs at least {_SHORTEST_SECRET} characters, one has "
                    f"{len(text)}; `openssl rand -hex 32` makes a good one"
                )
        if not texts:
            raise ConfigurationError("CURB_KEY_SECRET: is empty; unset it, or write one secret or several")
        self._by_id: Mapping[str, bytes] = MappingProxyType(
            {_fingerprint(text): text.encode() for text in texts}
        )
        self.current = _fingerprint(texts[0])

    @classmethod
    def parse(cls, written: str) -> "TokenSecrets":
        """Read CURB_KEY_SECRET: one secret, or several separated by commas. Raises ConfigurationError."""
        return cls(tuple(part for each in written.split(",") if (part := each.strip())))

    def digest(self, token: str, secret_id: str = "") -> str:
        """HMAC-SHA256 in hexadecimal, under the current secret or the one that is named.

        One that is not known gives the digest of another secret, so that it takes as long.
        """
        secret = self._by_id.get(secret_id or self.current, self._by_id[self.current])
        return hmac.new(secret, token.encode(), hashlib.sha256).hexdigest()

    def knows(self, secret_id: str) -> bool:
        """Whether tokens that were kept under this secret can be checked."""
        return secret_id in self._by_id

    def matches(self, token: str, digest: str, secret_id: str) -> bool:
        """Whether this is the token that the digest was made of; in constant time."""
        same = hmac.compare_digest(self.digest(token, secret_id), digest)
        return same and self.knows(secret_id)

    def __repr__(self) -> str:
        return f"TokenSecrets({', '.join(self._by_id)})"


def new_secret() -> str:
    """Make a secret for a server that was given none."""
    return secrets.token_hex(32)


def _fingerprint(secret: str) -> str:
    return hashlib.sha256(b"curb key secret\0" + secret.encode()).hexdigest()[:12]


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
