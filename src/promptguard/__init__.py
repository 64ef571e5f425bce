"""PromptGuard: notice when the model behind a prompt changes, before the product breaks."""

__version__ = "0.1.0"
