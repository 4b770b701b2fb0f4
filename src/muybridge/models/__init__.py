"""Networks only: one file a family.

A family that is trained exports `Config`, `build(config)` and `SIZES`. The networks that judge
export `network()`: published ones, with weights yet to be loaded, and the encoder of those that are
trained on a dataset.
"""
