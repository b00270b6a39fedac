"""One training in several processes: the group, the shares of a batch."""
