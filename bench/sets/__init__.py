"""The sets of measurements of ``make bench``, one file each."""
