"""What knit decides: pure functions of records and `now`. No I/O, no clock, no settings, no logging."""
