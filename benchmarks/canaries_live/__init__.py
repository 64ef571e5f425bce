"""Canaries by a watch on a live open model, with no application."""
