"""How good the lists are: metrics, protocols, segments of users, and what to compare with."""
