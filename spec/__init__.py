"""The promises of the tutorial, as tests."""
