"""Redis: the budget authority, switches, the outbox, and what a process remembers of them.

authority.py is the file to read first; scripts/*.lua decide, one script per decision;
keys.py lists every key with its lifetime.
"""
