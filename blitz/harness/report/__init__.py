"""The report: one page that is at once the documentation and the verdict for this machine.

``pytest spec --report FILE.html`` writes it. What is asked for is looked at before anything runs
(``options``); when the run has ended, however it ended, what came of it is gathered (``gather``,
``speed``) and made into HTML (``page``). All words of its own are data (``texts``).
"""
