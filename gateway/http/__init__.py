"""The front door: clients of OpenAI and Anthropic, over the same way as the steps of runs.

app: the ASGI application. endpoint: one request in, one call, one answer out. wires: what is special to
each family. *_request: what is checked, and the neutral form. *_answer: answers of the other family.
reply: streams and documents on their way out. identity, models, problems: who calls, for what, why not.
"""
