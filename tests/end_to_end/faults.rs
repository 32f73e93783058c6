//! Bad servers, bad disks, bad input and bad neighbours: nothing is lost, nothing is half-done, and it goes on when the
//! fault ends.
