"""The paper's evaluations as a whole: which there are, who can take them, running them, and tables of the results."""
