"""Units: k-means, label files and rates, letters, and the quality of units. No torch here."""
