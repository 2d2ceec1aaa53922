"""`explain` for two distributions on the line: where the divergence comes from, drawn."""
