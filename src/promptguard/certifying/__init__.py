"""Whether a version of a prompt works on a model as it did before: asked or read from records, and judged as it goes."""
