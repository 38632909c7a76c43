"""Oracles: what right would have been, said without using what is judged. One file each; ``table`` lists them."""
