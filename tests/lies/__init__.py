"""A torch that lies: its behaviours broken one at a time, to see the specification go red.

``python tests/lies`` tells every lie; ``--help`` says what else it can do.
"""
