"""What every room may use and what knows no other room: errors, files, seeds, console, processes."""
