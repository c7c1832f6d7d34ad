"""BLIP's pretraining from given towers, and its step with fewer operations: `pretrain` has the model."""
