"""Numbers for a trained model and for any tool's label maps; imports training and all below."""
