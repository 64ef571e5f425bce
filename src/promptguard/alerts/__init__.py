"""Alerts on their way out: what one says, the shapes that receivers take, and sending. Which ones, `background` decides."""
