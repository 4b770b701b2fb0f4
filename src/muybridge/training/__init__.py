"""The loop, and what it leans on. Imports core and objectives/base alone."""
