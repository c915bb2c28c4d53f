"""Users' ranked lists: types, columns and files."""
