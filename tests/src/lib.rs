//! What the suites share: the lab, the scenario files, packet notation.
