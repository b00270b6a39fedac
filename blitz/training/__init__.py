"""Training that can stop at any batch and go on: settings, loop, feeds, checkpoint, run folder."""
