"""`estimate`: one question, the ways to an answer, and what comes back."""
