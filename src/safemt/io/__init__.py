"""Files in and out: rows, settings, images, the hub."""
