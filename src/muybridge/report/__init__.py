"""One HTML page for one run, or for several side by side. Reads run folders; needs no torch."""

from .page import write_report

__all__ = ["write_report"]
