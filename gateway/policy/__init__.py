"""Pure rules on values: money, pricing, budgets, limits, velocity, routing, loops.

Standard library only; no clock and no I/O. Time comes in as an argument.
"""
