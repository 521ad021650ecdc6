"""phonesys beside what one would otherwise use: on the same server, doing the same work, in one run."""
