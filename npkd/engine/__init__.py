"""How arithmetic is shared out among threads and memory, never what it is."""
