"""How Cases are drawn: one strategy per family and stratum, simplest first."""

from conformance.strategies.cases import STRATA, Stratum, cases

__all__ = ["STRATA", "Stratum", "cases"]
