"""What a given model is, as a hash: of all numbers, texts and classes that it is made of."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator
from types import CodeType
from typing import Any

import numpy as np


def identity(*parts: object) -> str:
    """Return the hash of some objects, 16 hexadecimal digits; of equal ones it is the same.

    In any process, and of a copy. Of a function it is that of its name and its code, of an object
    that of its class and of what it would be copied by.
    """
    found = hashlib.blake2b(digest_size=8)
    for piece in _pieces(parts, {}):
        found.update(len(piece).to_bytes(8, "little") + piece)
    return found.hexdigest()


def _pieces(thing: Any, seen: dict[int, Any]) -> Iterator[bytes]:
    """Return what a thing is made of; an object that contains itself ends there."""
    if thing is None or isinstance(thing, bool | int | float | complex | str | bytes):
        yield f"{type(thing).__name__} {thing!r}".encode()
        return
    if id(thing) in seen:
        yield b"again"
        return
    inner = {**seen, id(thing): thing}
    if isinstance(thing, np.ndarray | np.generic):
        yield from _array(np.asarray(thing), inner)
    elif isinstance(thing, dict):
        yield f"dict {len(thing)}".encode()
        for key, value in sorted(thing.items(), key=lambda item: repr(item[0])):
            yield from _pieces(key, inner)
            yield from _pieces(value, inner)
    elif isinstance(thing, list | tuple):
        yield f"list {len(thing)}".encode()
        for value in thing:
            yield from _pieces(value, inner)
    elif isinstance(thing, set | frozenset):
        yield from _pieces(sorted(thing, key=repr), inner)
    elif isinstance(thing, CodeType):
        yield thing.co_code
        yield from _pieces(thing.co_consts, inner)
    elif isinstance(thing, type) or inspect.isroutine(thing):
        yield f"{thing.__module__}.{thing.__qualname__}".encode()
        yield from _pieces(getattr(thing, "__code__", None), inner)
    else:
        yield f"{type(thing).__module__}.{type(thing).__qualname__}".encode()
        yield from _pieces(_state(thing), inner)


def _array(array: Any, seen: dict[int, Any]) -> Iterator[bytes]:
    """Return an array field by field: the bytes between fields are of no meaning."""
    yield f"{array.dtype.str} {array.shape}".encode()
    if array.dtype.names:
        for name in array.dtype.names:
            yield from _array(array[name], seen)
    elif array.dtype.hasobject:
        yield from _pieces(array.tolist(), seen)
    else:
        yield np.ascontiguousarray(array).tobytes()


def _state(thing: Any) -> Any:
    """Return what an object would be copied by, without the class that it is.

    Of a generator it is what its draws hang on: a copy by a file forgets what it was seeded by.
    """
    if isinstance(thing, np.random.RandomState):
        return thing.get_state(legacy=False)
    if isinstance(thing, np.random.Generator):
        return thing.bit_generator.state
    rest = thing.__reduce_ex__(4)[1:]
    return [part if part is None or not isinstance(part, Iterator) else list(part) for part in rest]
