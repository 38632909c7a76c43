"""``peft-conformance families``."""

from __future__ import annotations

from conformance.cli.common import FamilyFileOption, Format, FormatOption, print_json, register_files, say


def list_families(format: FormatOption = Format.TEXT, family_file: FamilyFileOption = None) -> None:
    """List the families, and the hazard each stands for."""
    from conformance.families import families

    register_files(family_file)
    known = families()
    if format is Format.JSON:
        print_json(list(known.values()))
        return
    width = max(map(len, known))
    for name, family in known.items():
        say(f"{name:<{width}}  {family.hazard}")
