"""The round of the figures as a Flower app."""
