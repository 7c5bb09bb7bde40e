//! Strategies that lower operator graphs to programs.
