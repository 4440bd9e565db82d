"""Local stand-ins that speak the vendors' own dialects, with fault injection and a durable store of their own.

They run as a separate process (``python -m integrations.sandbox``) and need neither Django nor its database, so that
killing Firstvalue never takes the vendors' truth with it. Beside them stands a mail server that keeps what it is sent.
``control`` is the client side, for tests and the demo.
"""
