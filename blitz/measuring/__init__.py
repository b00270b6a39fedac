"""Honest clocks, the parts of a training step, throughput and its picture."""
