"""Numbers that can be believed: one file a kind of measure, each number with its manifest."""
