"""What every class of a family must do, as tables over all classes."""
