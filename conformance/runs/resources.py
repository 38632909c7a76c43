"""What this machine ran out of while judged code ran. It is nobody's bug, and never a verdict."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator

ERRORS = {
    number: os.strerror(number)
    for name in ("ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "ENOMEM", "EPIPE", "EIO", "EROFS", "EFBIG", "ENOLCK")
    if (number := getattr(errno, name, None)) is not None
}
"""What the system says when it has no more of something, or its devices fail."""
NATIVE = re.compile(
    r"\(os error (?P<number>\d+)\)"  # how Rust says it: safetensors, tokenizers
    r"|(?P<memory>DefaultCPUAllocator|can't allocate memory|[Oo]ut of memory|std::bad_alloc|[Cc]annot allocate memory)"
    r"|(?P<threads>can't start new thread)"
    r"|(?P<files>unexpected pos \d+ vs|PytorchStreamWriter failed|No space left on device)"  # how torch's writer says it
)
"""How libraries that are not written in Python say the same."""
LEAST_SPACE = 1 << 20
"""With fewer bytes left on its disk, nothing that was written can be trusted. The folders of a run hold some 100 KB each."""


class Exhausted(Exception):
    """This machine ran out of something while judged code ran; the message says of what."""


def exhausted(error: BaseException) -> str:
    """What ran out, in words, if that is behind ``error``; else nothing."""
    return next(filter(None, map(_says, _causes(error))), "")


def disk_full() -> str:
    """Why nothing that was written to temporary files can be trusted; nothing where there is room."""
    folder = tempfile.gettempdir()
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return f"the temporary folder cannot be used: {error.strerror}"
    return f"{os.strerror(errno.ENOSPC)}: {free} bytes are left for temporary files" if free < LEAST_SPACE else ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _says(error: BaseException) -> str:
    said = f"{type(error).__name__}: {error}".splitlines()[0]
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return said
    if isinstance(error, OSError) and error.errno is not None:
        return said if error.errno in ERRORS else ""
    match = NATIVE.search(str(error))
    if match is None:
        return ""
    return said if match["number"] is None or int(match["number"]) in ERRORS else ""
