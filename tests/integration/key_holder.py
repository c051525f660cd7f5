"""Somebody who calls with a key again and again, in a process of their own, for test_keys.

python -m tests.integration.key_holder DATABASE_URL SECRET      (the token comes by stdin)

Prints a line whenever the answer changes: `ok`, or why the key is refused.
"""

import asyncio
import logging
import sys

import structlog

from gateway.keys import KeyRing, Unauthorized
from gateway.store import Store
from gateway.tokens import TokenSecrets

PAUSE_SECONDS = 0.01


async def main(url: str, secret: str, token: str) -> None:
    async with await Store.connect(url) as store:
        ring, last = KeyRing(store.keys, TokenSecrets((secret,))), ""
        while last != "revoked":
            try:
                await ring.authenticate(token)
                answer = "ok"
            except Unauthorized as refused:
                answer = refused.reason
            if answer != last:
                sys.stdout.write(f"{answer}\n")
                sys.stdout.flush()
                last = answer
            await asyncio.sleep(PAUSE_SECONDS)
        await ring.close()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.stdin.readline().strip()))
