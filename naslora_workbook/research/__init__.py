"""What is measured, compared and searched for; what was found is in `results/`."""
