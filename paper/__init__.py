"""The reproduction of the ETTFS paper (arXiv 2410.23619): its runs, their records, and what is printed from them."""
