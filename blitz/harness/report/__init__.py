"""The report: one page that is at once the documentation and the verdict for this machine."""
