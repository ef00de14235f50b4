"""`python -m firstspike` is the command `firstspike`."""

from firstspike_command import main

main()
