"""How Cases are drawn: one strategy per family and stratum, simplest first."""

from conformance.strategies.cases import STRATA, cases
from conformance.strategies.maps import MAPS
from conformance.strategies.strata import Stratum

__all__ = ["MAPS", "STRATA", "Stratum", "cases"]
