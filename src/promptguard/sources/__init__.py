"""Where prompts come from: a folder, a package's resources, a git reference, a ledger."""
