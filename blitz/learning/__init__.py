"""Learning with bookkeeping: a step on any device, its running loss, a net's test."""
