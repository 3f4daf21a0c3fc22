"""What Alembic runs: its environment, and one module for each revision of the tables."""
