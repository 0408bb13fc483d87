"""Cluster targets for pre-training by masked prediction: features, k-means, label files."""
