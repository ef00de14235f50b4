"""The runs of "time to accuracy": a config of `firstspike.train` a net, and the same nets in SpikingJelly."""
