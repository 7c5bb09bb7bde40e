//! What a component is: something that says when it can next act.
//!
//! A component never waits by spinning. Asked [`Component::next_action`], it answers from its state with the earliest
//! time at which acting would change anything, or `None` if only another component can change that. The
//! [engine](crate::engine) asks again after every act of the component itself and whenever somebody *touches* it: a
//! [port](crate::port) touches its receiver when a value is sent and a blocked sender when room becomes free, and a
//! component touches another by [`Wakes::touch`] after changing shared state that the other looks at.

use std::fmt;

use crate::time::Time;

/// The dense number of a component in its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentId(pub u32);

impl ComponentId {
    /// The number as an index.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "component {}", self.0)
    }
}

/// The components that the engine is to ask again when the present act is over.
#[derive(Clone, Debug, Default)]
pub struct Wakes {
    pub(crate) touched: Vec<ComponentId>,
}

impl Wakes {
    /// Nobody yet. The engine passes its own; this one is for testing a component or a port alone.
    #[must_use]
    pub fn new() -> Wakes {
        Wakes::default()
    }

    /// Something that `id` depends on has changed: ask it again when it can act. Touching too often costs time and
    /// changes nothing, as the answer comes from the component's state.
    #[inline]
    pub fn touch(&mut self, id: ComponentId) {
        self.touched.push(id);
    }

    /// Takes those touched since the last call, in order; for testing a component or a port alone.
    pub fn drain(&mut self) -> impl Iterator<Item = ComponentId> + '_ {
        self.touched.drain(..)
    }
}

/// What a component that has work left is waiting for; asked only to explain a deadlock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Who would have to act.
    pub on: ComponentId,
    /// For what: "room in `requests` (4 of 4)", "the result of instruction 17".
    pub what: String,
}

/// One component of a machine; `S` is what the components of the machine share, its ports above all.
///
/// A machine with several kinds of component has one enum of them, which passes each call on: static dispatch, and all
/// in one dense vector.
pub trait Component<S> {
    /// The earliest time at which the component can act, from its state and the shared state; `None` while it can do
    /// nothing until touched. A time already past means "now". A component that acts on the edges of a clock keeps its
    /// next edge and answers no earlier than that.
    fn next_action(&self, shared: &S) -> Option<Time>;

    /// Does everything that can be done at `now`. Called only when `next_action` answered a time that has come.
    fn act(&mut self, now: Time, shared: &mut S, wakes: &mut Wakes);

    /// With nothing left to happen anywhere: what the component waits for, if its work is not done. Empty means done.
    fn waits(&self, shared: &S) -> Vec<Wait>;
}

/// The whole of what an [`Engine`](crate::Engine) runs: components addressed by number.
///
/// [`Machine`] implements it for one vector of components; a model with a better layout (one vector for each kind)
/// implements it itself, and the calls are as static.
pub trait Model {
    /// How many components there are, numbered from 0; constant during a run.
    fn components(&self) -> usize;
    /// As [`Component::next_action`].
    fn next_action(&self, id: ComponentId) -> Option<Time>;
    /// As [`Component::act`].
    fn act(&mut self, id: ComponentId, now: Time, wakes: &mut Wakes);
    /// As [`Component::waits`].
    fn waits(&self, id: ComponentId) -> Vec<Wait>;
    /// What messages call the component.
    fn name(&self, id: ComponentId) -> String;
}

/// Components in a vector, and what they share.
#[derive(Clone, Debug, Default)]
pub struct Machine<C, S> {
    /// The components; their index is their [`ComponentId`].
    pub components: Vec<C>,
    /// What they share.
    pub shared: S,
    names: Vec<String>,
}

impl<C: Component<S>, S> Machine<C, S> {
    /// A machine of no components yet.
    pub fn new(shared: S) -> Self {
        Machine { components: Vec::new(), shared, names: Vec::new() }
    }

    /// Adds a component; numbers are given in order, from 0.
    pub fn add(&mut self, name: impl Into<String>, component: C) -> ComponentId {
        let id = ComponentId(self.components.len() as u32);
        self.components.push(component);
        self.names.push(name.into());
        id
    }
}

impl<C: Component<S>, S> Model for Machine<C, S> {
    fn components(&self) -> usize {
        self.components.len()
    }

    #[inline]
    fn next_action(&self, id: ComponentId) -> Option<Time> {
        self.components[id.index()].next_action(&self.shared)
    }

    #[inline]
    fn act(&mut self, id: ComponentId, now: Time, wakes: &mut Wakes) {
        self.components[id.index()].act(now, &mut self.shared, wakes);
    }

    fn waits(&self, id: ComponentId) -> Vec<Wait> {
        self.components[id.index()].waits(&self.shared)
    }

    fn name(&self, id: ComponentId) -> String {
        self.names.get(id.index()).cloned().unwrap_or_else(|| id.to_string())
    }
}
