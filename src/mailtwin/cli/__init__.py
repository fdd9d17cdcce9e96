"""What a person types: the commands of mailtwin."""
