"""benchmarks: how long does it take? Run by hand; tests check their form, never their times."""
