"""Recipes as YAML files, read by trainer.recipe.recipes."""
