//! Time, events, ports, statistics and observers. Knows no hardware.
