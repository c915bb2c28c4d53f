"""The recommender as one object."""
