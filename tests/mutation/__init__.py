"""Mutants of blitz, made by mutmut, and whether the tests kill them."""
