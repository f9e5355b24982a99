"""What lessons need beside the core: profiles, drawn domains, exercises that check themselves."""
