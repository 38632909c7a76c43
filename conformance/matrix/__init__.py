"""The matrix: pairs of releases, an environment for each, the suite run on each, and bisection. Imports no torch."""
