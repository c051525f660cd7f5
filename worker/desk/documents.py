"""How documents for programs write money and times."""

from datetime import UTC, datetime

from gateway.policy.money import decimal_usd


def usd_text(nano_usd: int | None) -> str | None:
    """Dollars as an exact decimal string, null where there is no amount."""
    return None if nano_usd is None else decimal_usd(nano_usd)


def at_text(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")
