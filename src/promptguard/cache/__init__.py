"""Response caches: memory, and disk (diskcache, bytes only) with a small memory tier in front.

What may be cached, and under which key, is decided by the flow in `core`; here entries are only kept. Nothing
in this package ever unpickles. `diskcache` is imported by `disk` only, when a disk cache is made: no cache
needs it.
"""
