"""Footage -> dataset -> batches."""
