"""Where a dataset's frames come from: memory-mapped RGB or YUV made of its videos, or those."""
