"""The commands of ``python -m blitz``: one module each, with ``add_arguments`` and ``run``."""
