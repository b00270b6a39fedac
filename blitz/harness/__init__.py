"""What turns the claims into a pytest run: the table of contents, the devices, the summary."""
