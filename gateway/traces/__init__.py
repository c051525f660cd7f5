"""Traces: what is on the books, told to Langfuse and to OpenTelemetry collectors.

Nothing of it is on the way of a call. Whoever books an attempt or ends a run marks it in the same transaction
(gateway.store.traces); an exporter reads what is marked, makes spans of it and sends them, with ids that
follow from what they tell of, so that telling twice tells once.
"""
