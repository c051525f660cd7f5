"""curb's front door beside two other gateways, under the same load in the same minutes.

install: their programs, of pinned versions, in curb's cache. programs: how each is started. rounds: the
loads, one gateway after the other. figures: what is made of what was heard.
"""
