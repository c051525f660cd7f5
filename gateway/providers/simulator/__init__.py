"""A provider for tests, demos and benches: a real HTTP server that speaks both wire formats and bills.

Run it: `python -m gateway.providers.simulator --port 8900 --data DIR [--trace CSV]`.

It imports nothing else of gateway: its own token counting, price table and exact arithmetic are
what makes "ledger = invoice" a proof. Modules, in the order of reading:

    behaviours   model names and what they make the model do: `gpt-5-mini@steady-5+slow-stream-20`
    asked        requests of both wire formats, checked as strictly as the real ones, as one value
    scripts      what the worker, the runaway, the talker ... says next, derived from the request alone
    generation   the tokens, one after the other, billed as they are produced
    invoice      one row per request, durable against kill -9
    outages      a whole family in trouble, begun and ended over HTTP
    prices       the price table
    wire_openai, wire_anthropic, server
"""
