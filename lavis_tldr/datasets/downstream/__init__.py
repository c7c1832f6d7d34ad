"""The sets of the downstream evaluations: official files, and what is made of them."""
