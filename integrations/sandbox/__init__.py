"""Local stand-ins that speak the vendors' own dialects, with fault injection and a durable store of their own.

They run as a separate process (``python -m integrations.sandbox``) and need nothing but the standard library, so that
killing Firstvalue never takes the vendors' truth with it. ``control`` is the client side, for tests and the demo.
"""
