"""What is minimised, and how one samples from it: one file an objective."""
