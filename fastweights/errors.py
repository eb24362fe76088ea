class UserError(ValueError):
    """What the user can put right: one line that says what was got, what was wanted, and the way out."""
