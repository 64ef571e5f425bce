"""Versioned prompts: files, a bounded sandbox, and the memory of what was rendered.

`rendered` is light (the transport reads it on every call); `library` and everything behind it load jinja2,
PyYAML and pydantic and are imported only when a library is opened.
"""
