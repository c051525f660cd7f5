"""Digests: a tool call as a short hash, so that history can tell calls apart without quoting them."""

import hashlib

from gateway.calls import ToolUse


def digest(use: ToolUse) -> str:
    """Sixteen hex digits of id, name and arguments."""
    return short_hash(f"{use.id}\0{use.name}\0{use.arguments}")


def short_hash(text: str) -> str:
    """Sixteen hex digits that stand for a text."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
