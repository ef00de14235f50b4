"""Programs: layers in integers, chip profiles, host encoder and decoder, the C++ engine, files, NIR."""
