"""What a score means: whether chance alone explains it, how uncertain it is, what it depends on."""
