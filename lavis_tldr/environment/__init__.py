"""The machine the package runs on: what is wrong with it, without a model hub and how LAVIS knows the plugin."""
