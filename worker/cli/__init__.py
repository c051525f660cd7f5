"""The command line: DESIGN 10. One module per group of commands; `main` is the entry point.

Every command that prints data takes --json: one JSON document on stdout, dollars as decimal
strings, everything else on stderr. Exit status: 0 done; 1 the run or check did not succeed; 2 usage
or bad configuration; 3 something needed is missing or unreachable.
"""

from worker.cli.application import main

__all__ = ["main"]
