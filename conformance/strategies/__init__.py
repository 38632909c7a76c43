"""How Cases are drawn: one strategy per family and stratum, simplest first."""

from conformance.strategies.cases import STRATA, cases
from conformance.strategies.placements import MAPS
from conformance.strategies.stratum import Stratum

__all__ = ["MAPS", "STRATA", "Stratum", "cases"]
