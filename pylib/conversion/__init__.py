"""Voice conversion: features of one speaker changed towards another's, and back to sound."""
