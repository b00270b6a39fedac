"""Images in files, made on the spot, downloaded, or in photos."""
