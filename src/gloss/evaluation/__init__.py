"""How good lists are: protocols, metrics, segments of users, significance. Measures only."""
