"""Measures the accuracy of trained weights by a named protocol, on images with named labels."""
