"""Accuracy of trained weights, under protocols that have names, on sets of labels that have names."""
