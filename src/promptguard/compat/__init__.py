"""What one model takes of a request and another refuses, as data; a small engine that fits a request to a model. Pure."""
