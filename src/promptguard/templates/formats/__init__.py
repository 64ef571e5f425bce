"""Prompts of other tools, read into one form and written as prompt files."""
