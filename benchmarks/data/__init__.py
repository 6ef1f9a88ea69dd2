"""Music for training and testing, gathered from Debian, PyPI and npm packages."""
