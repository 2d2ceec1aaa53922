"""What several families of closed forms are made of."""
