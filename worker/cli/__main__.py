"""`python -m worker.cli`: the same as `curb`, for child processes that may not rely on PATH."""

from worker.cli import main

main()
