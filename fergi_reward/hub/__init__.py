"""What others published: where it is, what its files are, and getting them."""
