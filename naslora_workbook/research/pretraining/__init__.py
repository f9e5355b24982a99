"""How `sam_nano` is pre-trained: endless scenes, prompts, losses, optimiser, published weights."""
