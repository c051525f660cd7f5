"""Columns as all tables write them, and the metadata that they share."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Integer, MetaData, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()
BRIN = {"pages_per_range": 32, "autosummarize": True}


def words(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def nano(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


def count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


def flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default="false")


def time(name: str, *, now: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=not now, server_default=func.now() if now else None)


def jsonb(name: str) -> Column[object]:
    return Column(name, JSONB, nullable=False, server_default=text("'{}'::jsonb"))
