"""Benches: what curb costs and how fast it stops things, beside baselines measured in the same run.

`python -m bench` runs all of them, `python -m bench steps kill` some; `--json` for programs.
"""
