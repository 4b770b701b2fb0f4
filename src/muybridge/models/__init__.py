"""Networks only: one file a family. A file exports `Config`, `build(config)` and `SIZES`."""
