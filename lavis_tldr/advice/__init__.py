"""How much of a set to keep: what each keep ratio would keep, what small trainings make of it, and what follows."""
