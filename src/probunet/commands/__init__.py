"""What a person types: the signature and docstring of a function are its help; imports any room below."""
