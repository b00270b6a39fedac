"""Counter-cases, refusals, variants and dtypes of the claims, under the names of the chapters."""
