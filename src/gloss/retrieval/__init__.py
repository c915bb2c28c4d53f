"""From words to items: what finds the items that a title means, and how a user's list is made."""
