"""Networks: a name becomes a module whose equality with a public reference is proved."""
