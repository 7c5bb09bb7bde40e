//! Feed-forward layers.

use super::flow::{Flow, Part, Value};
use crate::model::FeedForwardSpec;

impl Flow<'_> {
    pub(super) fn feed_forward(&mut self, f: &FeedForwardSpec, name: &str, input: &Value) -> Value {
        let width = self.width;
        self.gated_pair(f, name, "ffn", input, [width, width])
    }

    /// `in -> inner -> out`, names and labels beginning with some words.
    pub(super) fn gated_pair(
        &mut self,
        f: &FeedForwardSpec,
        name: &str,
        label: &str,
        input: &Value,
        [output, width]: [u64; 2],
    ) -> Value {
        let inner = f.inner;
        let part = Part::FeedForward;
        let of = |what: &str| (format!("{name}_{what}"), format!("{label} {}", what.replace('_', " ")));
        let named = |what: &str| (format!("{name}_{what}"), format!("{label} {what} projection"));
        let activated = if f.gated {
            let (n, l) = named("gate");
            let gate = self.linear(&n, &l, part, input, [inner, width], f.bias);
            let (n, l) = named("up");
            let up = self.linear(&n, &l, part, input, [inner, width], f.bias);
            let (n, l) = of("activation");
            let gate = self.activated(&n, &l, f.activation, &gate);
            self.gated(&format!("{name}_gated"), &format!("{label} gate product"), &gate, &up)
        } else {
            let (n, l) = named("up");
            let up = self.linear(&n, &l, part, input, [inner, width], f.bias);
            let (n, l) = of("activation");
            self.activated(&n, &l, f.activation, &up)
        };
        let (n, l) = named("down");
        self.linear(&n, &l, part, &activated, [output, inner], f.bias)
    }
}
