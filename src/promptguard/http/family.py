"""Which HTTP library a client belongs to: httpx, or its continuation httpx2.

The two have the same shapes and unrelated classes (an httpx2.Client is no httpx.Client), and an SDK accepts only its
own. So the library is found by walking the class of the object we are given; neither is ever imported by name.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TypeGuard

from promptguard.core.http_types import HttpClient

FAMILIES = ("httpx", "httpx2")


def family_of(instance: object) -> ModuleType | None:
    """Return the module `httpx` or `httpx2` whose Client, AsyncClient or transport `instance` is, or None."""
    for base in type(instance).__mro__:
        root = base.__module__.partition(".")[0]
        if root in FAMILIES:
            return sys.modules[root]
    return None


def is_client(instance: object) -> TypeGuard[HttpClient]:
    """Whether `instance` is a Client or AsyncClient of either family."""
    family = family_of(instance)
    return family is not None and isinstance(instance, (family.Client, family.AsyncClient))


def is_async(client: object) -> bool:
    """Whether a client of either family is the asynchronous one."""
    family = family_of(client)
    return family is not None and isinstance(client, family.AsyncClient)
