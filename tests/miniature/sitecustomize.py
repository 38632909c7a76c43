"""Make every Python process that has this folder on its path, workers included, judge the miniatures."""

from __future__ import annotations

from importlib import import_module

import_module("miniature").install()
