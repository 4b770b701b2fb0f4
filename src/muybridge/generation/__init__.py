"""Anything in, video out: what is asked for becomes a canvas, which is filled window by window."""
