"""How well a caption fits its image: by fitted heads, the captioner's likelihood, BLIP or gradients."""
