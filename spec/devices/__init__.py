"""What a backend must get right: every operation, layout and size, as tables."""
