"""Tar as a bundle is written: headers that the manifest foretells to the byte.

Files alone, one owner, one date. A header is one block of ustar, or POSIX' extended form (pax) for
a name or a size that a block cannot hold.
"""

import tarfile

BLOCK = 512
END = bytes(2 * BLOCK)
_KINDS = {b"1": "a link", b"2": "a link", b"5": "a folder", b"L": "a long name"}
_KINDS |= {b"x": "an extended header", b"g": "an extended header"}


def header(path: str, size: int) -> bytes:
    """The blocks before a file's bytes."""
    info = tarfile.TarInfo(path)
    info.mode, info.size = 0o644, size
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def padding(size: int) -> int:
    """Zeros after a file of `size` bytes."""
    return -size % BLOCK


def footprint(path: str, size: int) -> int:
    """Bytes of a file in the archive, with what stands around it."""
    return len(header(path, size)) + size + padding(size)


def size_in(block: bytes) -> int | None:
    """What a header says of its size, where it is an octal one."""
    try:
        return int(block[124:135], 8)
    except ValueError:
        return None


def in_words(block: bytes) -> str:
    """What stands where another header should."""
    if block[257:262] != b"ustar":
        return "no header"
    name = b"/".join(filter(None, (block[345:500].rstrip(b"\0"), block[:100].rstrip(b"\0"))))
    return f"{_KINDS.get(block[156:157], 'a file')} {name[:80].decode('utf-8', 'replace')!r}"
