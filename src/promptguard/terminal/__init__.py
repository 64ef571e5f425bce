"""What people see in a terminal: rich where there is one, plain text elsewhere."""
