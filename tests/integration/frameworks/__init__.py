"""Workers of three agent frameworks, as their users write them."""
