"""What a run ends with: its table, report.json, the pictures, the page; and all of it read back."""
