"""What methods cost: measured in turns, so that a machine that slows down slows all of them."""
