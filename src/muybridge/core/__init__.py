"""Words and tools that every part shares. Imports nothing else of Muybridge."""
