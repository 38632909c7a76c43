"""How Cases are drawn: the possible pairs of classes in few strata, one strategy per family and stratum, simplest first."""

from conformance.strategies.cases import cases
from conformance.strategies.stories import stories
from conformance.strategies.stratum import Stratum, one_array, strata

__all__ = ["Stratum", "cases", "one_array", "stories", "strata"]
