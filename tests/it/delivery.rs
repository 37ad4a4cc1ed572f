//! Kill the real binary at every step, restart it, and look for each event exactly once.
