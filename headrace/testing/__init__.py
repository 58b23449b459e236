"""For tests of your own: the in-memory platform, record factories, and suites that hold your code to its contract."""
