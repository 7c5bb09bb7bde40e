//! The command line as a library: everything `banksia` does, callable from tests.
