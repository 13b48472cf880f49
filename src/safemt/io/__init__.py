"""Files in and out: rows, archives, images, the hub."""
