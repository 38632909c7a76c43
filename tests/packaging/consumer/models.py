"""A module of the name that half of all repositories have."""

from __future__ import annotations

OWNER = "the consumer"
