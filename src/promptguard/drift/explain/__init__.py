"""What changed and by how much, in figures."""
