"""The sessions of noxfile.py, by subject; they run where nothing but nox is installed."""
