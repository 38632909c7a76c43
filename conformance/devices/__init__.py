"""Device maps on one CPU: simulated devices with torch's own rule for mixing them, or the next best thing.

Importing this registers nothing and imports no torch; :func:`activate` does, and for good.
"""

from conformance.devices.lanes import FORCED, Lane, activate, available

__all__ = ["FORCED", "Lane", "activate", "available"]
