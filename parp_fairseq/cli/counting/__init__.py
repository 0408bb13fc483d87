"""What commands count: sparsity by layer, and how masks agree."""
