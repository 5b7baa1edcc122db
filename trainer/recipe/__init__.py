"""One recipe: what it holds, how it is read, and whether its values can be."""
