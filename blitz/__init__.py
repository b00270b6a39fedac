"""The behaviours that the PyTorch 60 Minute Blitz shows, as small functions and classes.

One module a chapter: :mod:`blitz.tensors`, :mod:`blitz.autograd`, :mod:`blitz.neural_networks`,
:mod:`blitz.classifier`. Every function returns what it made and takes the device to make it on.
The promises themselves are the tests under ``spec/``.
"""
