"""The command line: `main`, and one file a verb. Nothing imports it."""
