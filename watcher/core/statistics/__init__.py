"""The statistics behind `compare`: what a metric does by itself, learnt from its past, and what it does not.

`model.prepare(points)` learns from a reference once per watch; `Reference.look(seen)` judges the newest number. All is
plain arithmetic on floats: no clock, no randomness, nothing but the standard library.
"""
