"""Texts of exactly so many tokens, the same for the same seed and unlike those of other seeds."""

import random
import re

_CONSONANTS = "bcdfghjklmnprstvwz"
_VOWELS = "aeiou"
TOKEN_CHARACTERS = 4


def babble(tokens: int, seed: str) -> str:
    """Words of invented syllables, four characters a token. Each seed speaks a language of its own,
    so that no measure of similarity takes two of them for the same text."""
    chance = random.Random(seed)
    consonants = chance.sample(_CONSONANTS, 6)
    vowels = chance.sample(_VOWELS, 3)
    words = [
        chance.choice(consonants) + chance.choice(vowels) + chance.choice(consonants) + " "
        for _ in range(min(tokens, 512))
    ]
    repeated = words * (tokens // len(words) + 1) if words else []
    return "".join(repeated[:tokens])


def listed_files(listing: str) -> list[str]:
    """File names in the result of a tool that lists: one a line, before two spaces, a tab or a bracket."""
    names = (re.split(r"\s{2,}|\t|\s\(", line.strip().removeprefix("- "))[0] for line in listing.splitlines())
    return [name for name in names if name and not name.endswith("/") and name[0] not in "[("]
