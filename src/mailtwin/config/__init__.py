"""What a person writes down: the configuration file, checked and typed."""
