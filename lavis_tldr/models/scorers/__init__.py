"""How well texts fit images, by any of the architectures, for the evaluations."""
