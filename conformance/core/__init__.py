"""Plain data and words that every other part shares. Imports no torch."""
