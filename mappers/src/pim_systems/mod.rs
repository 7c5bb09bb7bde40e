//! PIM systems of the field as their own simulators have them: a node of GPUs given as rooflines, and PIM devices simulated command by command.

pub mod attacc;
pub mod attention_stream;
pub mod operators;
pub mod pimba;
pub mod recurrent;
pub mod state_stream;
pub mod transformer;
