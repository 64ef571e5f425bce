"""What a stream has shown so far, as sums, and since when it is another."""
