//! The unit of flow control.

use super::route::Route;

/// A flit as it lies in a buffer or on a wire.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flit {
    pub(super) packet: u32,
    /// The terminal it goes to.
    pub(super) to: u32,
    /// Where a head goes first, when it goes by way of something.
    pub(super) way: u32,
    pub(super) priority: i32,
    pub(super) hops: u16,
    pub(super) vc: u8,
    /// What a head's routing function remembers: the phase of its way, or which half of a ring's virtual channels it takes.
    pub(super) phase: u8,
    /// Its class of messages, which says what virtual channels it may take.
    pub(super) class: u8,
    pub(super) head: bool,
    pub(super) tail: bool,
    /// A head's route at the router it goes to, where routing is one hop ahead.
    pub(super) ahead: Route,
}
