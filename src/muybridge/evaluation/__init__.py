"""Numbers that can be believed: one file a kind of measure; `manifest` says how a number came to be."""
