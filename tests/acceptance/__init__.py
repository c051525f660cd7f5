"""curb as its users have it: commands in processes of their own, on a `curb dev` of their own."""
