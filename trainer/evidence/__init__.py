"""What a run leaves behind: its evidence, its verdict, its report."""
