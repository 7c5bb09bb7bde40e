//! Machines that run programs: DRAM, PIM, GPU, networks.
