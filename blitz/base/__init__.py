"""What every other package stands on: errors, files, backends, versions."""
