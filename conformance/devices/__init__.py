"""Device maps on one CPU: simulated devices with torch's own rule for mixing them, or the next best thing.

Importing this registers nothing and imports no torch; :func:`enter` does, and for good.
"""

from conformance.devices.lanes import FORCED, Lane, available, enter

__all__ = ["FORCED", "Lane", "available", "enter"]
