"""Changes: the update language, and bulk actions on what a query finds."""
