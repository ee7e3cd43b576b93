"""Changed files: valid ones with flipped bytes, other sizes, splices, cuts, and texts of ill will."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

Mutation = Callable[[bytes, random.Random], bytes]

NUMBERS = (
    0, 1, -1, 2, 3, 127, 128, 255, 256, 32767, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1,
    2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 10**30,
)  # fmt: skip
TEXTS = (
    "nan", "inf", "-inf", "1e999", "1e308", "-1e308", "1e-320", "NaN", "Infinity", "null", "true", "none",
    "9" * 400, "0x" + "f" * 3600, "9" * 4299, "", " ", "\x00", "\x1b[31m", "\u202e", "\\ud800",
    "\\u0000", "x" * 300, "../" * 90 + "x", "[" * 60, "{" * 60, "]", "}", '"', "'", ",", "=", "a.b.c", "\n",
    "1_000", "٣", "<script>", "=1+1", "-0", "--", "0x10", "1/0", "1/1e-320", "é" * 120, "[[a]]",
)  # fmt: skip
_MOST = 1 << 19  # characters of a text, more than any argument may have
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def bytewise(data: bytes, rng: random.Random) -> bytes:
    """Change one to four things of a file without regard to what it is."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(_BYTEWISE)(changed, rng)
    return bytes(changed)


def _flip(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _head(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(min(len(data), 64))] = rng.randrange(256)


def _integer(data: bytearray, rng: random.Random) -> None:
    """Put a number of a size's form over what is there."""
    width, order = rng.choice((1, 2, 4, 4, 8)), rng.choice(("little", "big"))
    if len(data) >= width:
        near = min(len(data) - width, rng.choice((16, 64, len(data))))
        at = rng.randint(0, near)
        value = rng.choice(NUMBERS) % 256**width
        data[at : at + width] = value.to_bytes(width, order)  # type: ignore[arg-type]


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randint(0, len(data)) :]


def _remove(data: bytearray, rng: random.Random) -> None:
    at = rng.randint(0, len(data))
    del data[at : at + rng.choice((1, 2, 8, 100))]


def _repeat(data: bytearray, rng: random.Random) -> None:
    at = rng.randint(0, len(data))
    piece = data[at : at + rng.choice((1, 4, 30, 200))]
    data[at:at] = piece * rng.choice((1, 2, 50))


def _insert(data: bytearray, rng: random.Random) -> None:
    at = rng.randint(0, len(data))
    data[at:at] = rng.choice((rng.randbytes(rng.randint(1, 9)), rng.choice(TEXTS).encode()))


def _number(data: bytearray, rng: random.Random) -> None:
    """Put another number over one that is written as text."""
    found = list(_NUMBER.finditer(data[:20_000]))
    if found:
        start, stop = rng.choice(found).span()
        new = rng.choice((str(rng.choice(NUMBERS)), rng.choice(TEXTS)))
        data[start:stop] = new.encode()


_BYTEWISE = (_flip, _flip, _head, _integer, _integer, _cut, _remove, _repeat, _insert, _number)


def packed(inner: Mutation) -> Mutation:
    """Change what is in a gzip file, or the file."""

    def mutated(data: bytes, rng: random.Random) -> bytes:
        if data[:2] == b"\x1f\x8b" and rng.random() < 0.7:
            return gzip.compress(inner(gzip.decompress(data), rng), 1)
        return inner(data, rng)

    return mutated


def zipped(inner: Mutation) -> Mutation:
    """Change a member of an archive, which members there are, or the file."""

    def mutated(data: bytes, rng: random.Random) -> bytes:
        if rng.random() < 0.15:
            return bytewise(data, rng)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
        for _ in range(rng.choice((1, 1, 2, 3))):
            at = rng.randrange(len(members))
            name, content = members[at]
            kind = rng.random()
            if kind < 0.7:
                members[at] = name, inner(content, rng)
            elif kind < 0.8:
                members[at] = name, rng.choice(members)[1]
            elif kind < 0.9 and len(members) > 1:
                del members[at]
            else:
                members.append((rng.choice((name, name.upper(), f"../{name}", "é.npy")), content))
        out = io.BytesIO()
        packing = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
        with warnings.catch_warnings(), zipfile.ZipFile(out, "w", packing) as archive:
            warnings.simplefilter("ignore")  # of names that are there twice
            for name, content in members:
                archive.writestr(zipfile.ZipInfo(name), content, packing)
        return out.getvalue()

    return mutated


_DTYPES = (
    "|u1", "<f4", "<f8", ">f4", "<f2", "<i8", "<u8", "|b1", "<c16", "<U3", "<U0", "|S0", "|V0", "|V8", "|O",
    "<M8[s]", "<U1000000000", ">i4", "|S2147483647", "<f16", "x", "",
)  # fmt: skip
_SHAPES = (
    (), (0,), (1,), (2**63,), (2**31, 2**31), (-1,), (10**30,), (2**40, 0), (0, 2**62), (1,) * 33,
    (1,) * 70, (3, 3), (True,), (1e300,), (2**62, 4),
)  # fmt: skip


def npy(data: bytes, rng: random.Random) -> bytes:
    """Change the header of an array in NumPy's form, or what follows."""
    if data[:6] != b"\x93NUMPY" or rng.random() < 0.25:
        return bytewise(data, rng)
    length = int.from_bytes(data[8:10], "little")
    header, body = data[10 : 10 + length].decode("latin1"), data[10 + length :]
    kind = rng.random()
    if kind < 0.3:
        header = re.sub(r"'descr': '[^']*'", f"'descr': {rng.choice(_DTYPES)!r}", header)
    elif kind < 0.6:
        header = re.sub(r"\([^)]*\)", lambda _: repr(rng.choice(_SHAPES)), header)
    elif kind < 0.7:
        fields = [("a", "<f4"), ("b", rng.choice(_DTYPES))] * rng.choice((1, 3))
        header = re.sub(r"'descr': '[^']*'", lambda _: f"'descr': {fields!r}", header)
    elif kind < 0.8:
        deep = rng.choice(("(", "[", "-", "{'a':", "not ", "1+")) * rng.choice((90, 2000, 9000))
        header = deep + header
    elif kind < 0.9:
        header = bytewise(header.encode(), rng).decode("latin1")
    else:
        special = rng.choice((b"\x00", b"\x80", b"\xf0\x7f", b"\x7f", b"\xff"))
        body = b"".join(rng.choice((special, bytes([b]))) for b in body[:4000]) + body[4000:]
    encoded = header.encode("latin1", "replace")
    size = struct.pack("<H", len(encoded) % 65536)
    return (
        data[:6]
        + rng.choice((b"\x01\x00",) * 8 + (b"\x02\x00", b"\x03\x00"))
        + size
        + encoded
        + body
    )


_EXTREMES = (-1, 0, 1, 2, 5, 100, 10**6, -(10**6), 2**31 - 1, 1e30, float("nan"), float("inf"))


def numbers(data: bytes, rng: random.Random) -> bytes:
    """Leave an array whole, and put other numbers into it, or take rows or columns away."""
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception:  # it was changed before
        return bytewise(data, rng)
    for _ in range(rng.choice((1, 1, 3))):
        if array.ndim and rng.random() < 0.2:
            array = rng.choice((array[:-1], array[:1], array[..., :1], array.repeat(2, axis=0)))
        elif array.size:
            array = np.ascontiguousarray(array)
            flat = array.reshape(-1)
            flat = flat[rng.choice(array.dtype.names)] if array.dtype.names else flat
            with np.errstate(all="ignore"), suppress(ValueError, OverflowError, TypeError):
                flat[rng.randrange(len(flat))] = rng.choice(_EXTREMES)
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def json_nodes(data: bytes, rng: random.Random) -> bytes:
    """Put other values into a JSON document; sometimes change its bytes."""
    if rng.random() < 0.15:
        return bytewise(data, rng)
    try:
        document = json.loads(data)
    except ValueError:
        return bytewise(data, rng)
    for _ in range(rng.choice((1, 1, 2, 4))):
        places = list(_places(document))
        if not places:
            break
        holder, key = rng.choice(places)
        kind = rng.random()
        if kind < 0.15 and isinstance(holder, dict):
            del holder[key]
        elif kind < 0.25:
            other, name = rng.choice(places)
            holder[key] = json.loads(json.dumps(other[name]))
        else:
            holder[key] = _value(rng, holder[key])
    text = json.dumps(document, allow_nan=True)
    if rng.random() < 0.05:
        text = text.replace("0", rng.choice(("1e999", "9" * 4299, "-1e-320")), 1)
    return text.encode("utf-8", "surrogatepass")


def _places(node: Any) -> Any:
    """Yield every place of a document, as what holds it and its key."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(items):
        yield node, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _value(rng: random.Random, old: Any) -> Any:
    number = rng.choice((*NUMBERS, 0.5, -0.5, 1e308, -1e308, 1e-320, 1e17, 3.7, 1.0000001))
    if isinstance(old, int | float) and not isinstance(old, bool) and rng.random() < 0.7:
        return number
    deep: Any = 1
    for _ in range(rng.choice((3, 60, 400))):
        deep = rng.choice(([deep], {"a": deep}))
    text = rng.choice((*TEXTS, "\ud800", "\x9b", "pgd", "none", "pgd[eps=0.1]", "stadv", "linf"))
    return rng.choice(
        (number, text, text, None, True, [], {}, [number], {"a": number}, [text], deep)
    )


_WORDS = re.compile(r"[A-Za-z_]+|[0-9.]+|.", re.DOTALL)


def words(data: bytes, rng: random.Random) -> bytes:
    """Change the words of a text: leave out, repeat, exchange, put others in their place."""
    if rng.random() < 0.2:
        return bytewise(data, rng)
    parts = _WORDS.findall(data.decode("utf-8", "replace"))
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        if not parts:
            break
        at, kind = rng.randrange(len(parts)), rng.random()
        if kind < 0.2:
            del parts[at]
        elif kind < 0.35:
            parts[at:at] = [parts[at]] * rng.choice((1, 2, 40, 3000))
        elif kind < 0.55:
            other = rng.randrange(len(parts))
            parts[at], parts[other] = parts[other], parts[at]
        elif kind < 0.7:
            parts[at] = str(rng.choice(NUMBERS))
        else:
            parts[at] = rng.choice(TEXTS)
    return "".join(parts)[:_MOST].encode("utf-8", "surrogatepass")


def png(data: bytes, rng: random.Random) -> bytes:
    """Change a chunk of a PNG and mend its checksum; or the file."""
    if data[:4] != b"\x89PNG" or rng.random() < 0.2:
        return bytewise(data, rng)
    chunks, at = [], 8
    while at + 8 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    which = rng.randrange(len(chunks))
    name, content = chunks[which]
    if name == b"IDAT" and rng.random() < 0.5:
        content = zlib.compress(bytewise(zlib.decompress(content), rng))
    else:
        content = bytewise(content, rng)
    chunks[which] = rng.choice((name, name, name, b"tEXt", b"PLTE")), content
    out = data[:8]
    for name, content in chunks:
        out += struct.pack(">I", len(content)) + name + content
        out += struct.pack(">I", zlib.crc32(name + content))
    return out


def mutant(seeds: list[bytes], mutation: Mutation, rng: random.Random) -> bytes:
    """Return a changed one of the seeds, sometimes spliced with another."""
    data = rng.choice(seeds)
    if rng.random() < 0.03:
        other = rng.choice(seeds)
        return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]
    return mutation(data, rng)
