//! Operator graphs of transformer, MoE and SSM models. Knows no hardware.
