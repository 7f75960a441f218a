"""``probunet explore``: a local web page on which a person looks at hypotheses, moves through them and picks one."""
