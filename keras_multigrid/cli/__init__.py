"""The commands, and the only modules that know of gin and flags."""
