"""The silent fine-tune, live: a real open model behind a real endpoint, and an adapter switched on under its name."""
