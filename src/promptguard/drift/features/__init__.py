"""What is measured of an answer, and of a pair of answers."""
