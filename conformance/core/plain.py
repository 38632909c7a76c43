"""Text that does nothing to a terminal: whatever was read from elsewhere is printed as what it is."""

from __future__ import annotations


def plain(text: str) -> str:
    """``text`` with every character escaped that is not printed: control and escape sequences, and what turns writing around.

    Lines and tabs stay. The escapes are those of JSON, in whose strings they mean the same character.
    """
    return "".join(char if char.isprintable() or char in "\n\t" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))
