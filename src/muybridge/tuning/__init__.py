"""Searches settings of a recipe by many short trainings."""
