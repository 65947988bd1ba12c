"""What an evaluation writes: tables, plots, pages."""
