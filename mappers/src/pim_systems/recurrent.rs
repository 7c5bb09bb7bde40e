//! Layers of recurrent models, of OPT and of a hybrid as Pimba's simulator splits them over GPUs.

use banksia_hw::roofline::node::Work;
use banksia_input::InputError;

use super::operators::{Kind, Operator};

/// What a model is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Attention.
    Opt,
    /// Retention.
    RetNet,
    /// Gated linear attention.
    Gla,
    /// Gated linear recurrence with expanded states.
    Hgrn2,
    /// State spaces.
    Mamba2,
    /// State spaces, and attention shared between some layers.
    Zamba2,
}

/// A model by its sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecurrentModel {
    /// Its name.
    pub name: &'static str,
    /// What it is made of.
    pub family: Family,
    /// Layers of states, or of attention where there are no states.
    pub layers: u32,
    /// Layers of attention beside them.
    pub attention_layers: u32,
    /// Hidden size.
    pub hidden: u32,
    /// Heads of states: count, numbers of each, numbers of a state.
    pub states: (u32, u32, u32),
    /// Heads of attention: count, numbers of each.
    pub attention: (u32, u32),
}

const fn states(
    name: &'static str,
    family: Family,
    (layers, hidden): (u32, u32),
    states: (u32, u32, u32),
) -> RecurrentModel {
    RecurrentModel { name, family, layers, attention_layers: 0, hidden, states, attention: (0, 0) }
}

const fn opt(name: &'static str, layers: u32, hidden: u32, heads: u32) -> RecurrentModel {
    let attention = (heads, 128);
    RecurrentModel {
        name,
        family: Family::Opt,
        layers: 0,
        attention_layers: layers,
        hidden,
        states: (0, 0, 0),
        attention,
    }
}

const fn zamba(
    name: &'static str,
    (layers, attention_layers): (u32, u32),
    hidden: u32,
    states: (u32, u32, u32),
    attention: (u32, u32),
) -> RecurrentModel {
    RecurrentModel { name, family: Family::Zamba2, layers, attention_layers, hidden, states, attention }
}

/// The models of Pimba's simulator (casys-kaist/pimba, commit d9ab7e2, models.yaml). Sizes are its own: Mamba-2 of 2.7 B parameters has 80 heads of 64 with states
/// of 128, and the 70 B models are its scalings.
pub const MODELS: [RecurrentModel; 12] = [
    opt("opt-7b", 32, 4096, 32),
    opt("opt-70b", 80, 8192, 64),
    states("retnet-2.7b", Family::RetNet, (32, 2560), (10, 256, 512)),
    states("retnet-70b", Family::RetNet, (96, 7680), (10, 768, 1536)),
    states("gla-2.7b", Family::Gla, (32, 2560), (5, 256, 512)),
    states("gla-70b", Family::Gla, (96, 7680), (5, 768, 1536)),
    states("hgrn2-2.7b", Family::Hgrn2, (32, 2560), (20, 128, 128)),
    states("hgrn2-70b", Family::Hgrn2, (96, 7680), (20, 384, 384)),
    states("mamba2-2.7b", Family::Mamba2, (64, 2560), (80, 128, 64)),
    states("mamba2-70b", Family::Mamba2, (192, 7680), (80, 384, 192)),
    zamba("zamba2-7b", (81, 13), 3584, (112, 64, 64), (32, 224)),
    zamba("zamba2-70b", (174, 28), 7168, (112, 128, 128), (64, 224)),
];

/// The model of a name.
///
/// # Errors
/// There is no such model.
pub fn recurrent_model(name: &str) -> Result<RecurrentModel, InputError> {
    let found = MODELS.iter().find(|m| m.name == name).copied();
    found.ok_or_else(|| {
        InputError::unknown_name("model", "model of Pimba's simulator", name, MODELS.iter().map(|m| m.name))
    })
}

/// What an operator is for, as its results are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// Products with weights.
    Gemm,
    /// Work on states.
    StateUpdate,
    /// Attention's products.
    Gemv,
    /// A short convolution.
    Convolution,
    /// Steps of a state space.
    Discretization,
    /// Exchanges.
    Exchange,
    /// All else.
    Others,
}

/// An operator of a token, and in how many layers it is.
#[derive(Debug, Clone, Copy)]
pub struct LayerOperator {
    /// What it is for.
    pub category: Category,
    /// The operator.
    pub operator: Operator,
    /// Layers.
    pub layers: u32,
}

/// A token of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// Sequences.
    pub sequences: u32,
    /// GPUs.
    pub gpus: u32,
    /// Tokens that attention sees.
    pub keys: u32,
    /// Bytes of a number of a state, of keys and of values.
    pub state_bytes: u32,
    /// States are updated by units, in one operator.
    pub units: bool,
}

/// Bytes of weights and activations.
const BYTES: f64 = 2.0;

/// Layers being written down.
struct Writer {
    all: Vec<LayerOperator>,
    layers: u32,
    rows: f64,
}

impl Writer {
    fn put(&mut self, category: Category, operator: Operator) {
        self.all.push(LayerOperator { category, operator, layers: self.layers });
    }

    fn weights(&mut self, name: &'static str, n: f64, k: f64) {
        self.put(Category::Gemm, Operator::weights(name, (self.rows, n, k), BYTES));
    }

    fn norm(&mut self, name: &'static str, n: f64) {
        self.put(Category::Others, Operator::elements(name, Work::Norm, (self.rows, n), 1.0, BYTES));
    }

    fn activation(&mut self, category: Category, name: &'static str, n: f64) {
        let work = Work::Activation { flops: 8.0, gated: false };
        self.put(category, Operator::elements(name, work, (self.rows, n), 1.0, BYTES));
    }

    fn exchange(&mut self, name: &'static str, gpus: u32, n: f64) {
        if gpus > 1 {
            self.put(Category::Exchange, Operator::moved(name, Kind::Exchange, (self.rows, n), 1.0, BYTES));
        }
    }
}

impl RecurrentModel {
    /// The operators of a token on one of some GPUs.
    #[must_use]
    pub fn token(&self, token: &Token) -> Vec<LayerOperator> {
        let mut w = Writer { all: Vec::new(), layers: self.layers, rows: f64::from(token.sequences) };
        match self.family {
            Family::Opt => self.opt(token, &mut w),
            Family::RetNet => self.retnet(token, &mut w),
            Family::Gla => self.gla(token, &mut w),
            Family::Hgrn2 => self.hgrn2(token, &mut w),
            Family::Mamba2 => self.mamba2(token, &mut w, ""),
            Family::Zamba2 => self.zamba2(token, &mut w),
        }
        w.all
    }

    fn sizes(&self, token: &Token) -> (f64, f64) {
        (f64::from(self.hidden), f64::from(self.hidden / token.gpus))
    }

    fn states(&self, token: &Token, w: &mut Writer) {
        let (heads, head, state) = self.states;
        let count = f64::from(heads.div_ceil(token.gpus)) * f64::from(token.sequences);
        let (head, state, bytes) = (f64::from(head), f64::from(state), f64::from(token.state_bytes));
        let product = |name, sizes| Operator::products(name, sizes, count, bytes);
        if token.units {
            w.put(Category::StateUpdate, product("state_update", (1.0, head, state)));
        } else {
            w.put(Category::StateUpdate, product("attention_kv", (head, state, 1.0)));
            w.put(Category::StateUpdate, product("attention_qk", (1.0, state, head)));
        }
    }

    fn attention(&self, token: &Token, w: &mut Writer) {
        let (heads, head) = self.attention;
        let count = f64::from(heads / token.gpus) * f64::from(token.sequences);
        let (head, keys, bytes) = (f64::from(head), f64::from(token.keys), f64::from(token.state_bytes));
        w.put(Category::Gemv, Operator::products("attention_qk", (1.0, keys, head), count, bytes));
        let softmax = Operator::elements("attention_softmax", Work::Softmax, (1.0, keys), count, BYTES);
        w.put(Category::Others, softmax);
        w.put(Category::Gemv, Operator::products("attention_kv", (1.0, head, keys), count, bytes));
    }

    fn opt(&self, token: &Token, w: &mut Writer) {
        w.layers = self.attention_layers;
        let (hidden, share) = self.sizes(token);
        w.weights("qkv", 3.0 * share, hidden);
        self.attention(token, w);
        w.weights("proj", hidden, share);
        w.exchange("g2g-1", token.gpus, hidden);
        w.norm("norm_1", hidden);
        w.weights("ffn_1", 4.0 * share, hidden);
        w.activation(Category::Others, "act", 4.0 * share);
        w.weights("ffn_2", hidden, 4.0 * share);
        w.exchange("g2g_2", token.gpus, hidden);
        w.norm("norm_2", hidden);
    }

    fn feed_forward(&self, token: &Token, w: &mut Writer, (wide, active): (f64, f64)) {
        let (hidden, share) = self.sizes(token);
        w.exchange("g2g_1", token.gpus, hidden);
        w.norm("norm_2", hidden);
        w.weights("ffn", (wide * share).floor(), hidden);
        w.activation(Category::Others, "act", (active * share).floor());
        w.exchange("g2g_2", token.gpus, hidden);
    }

    fn retnet(&self, token: &Token, w: &mut Writer) {
        let (hidden, share) = self.sizes(token);
        w.norm("norm_1", hidden);
        w.weights("qkv", 4.0 * share, hidden);
        self.states(token, w);
        w.weights("g", 2.0 * hidden, share);
        w.weights("o", hidden, f64::from(2 * self.hidden / token.gpus));
        self.feed_forward(token, w, (4.2, 1.4));
    }

    fn gla(&self, token: &Token, w: &mut Writer) {
        let (hidden, share) = self.sizes(token);
        w.norm("norm_1", hidden);
        w.weights("qkv", 2.0 * share, hidden);
        w.weights("gk_1", 16.0, hidden);
        w.weights("gk_2", (share / 2.0).floor(), 16.0);
        self.states(token, w);
        w.weights("go", 2.0 * hidden, share);
        self.feed_forward(token, w, (8.0, 2.6));
    }

    fn hgrn2(&self, token: &Token, w: &mut Writer) {
        let (hidden, share) = self.sizes(token);
        w.norm("norm_1", hidden);
        w.weights("qkv", 3.0 * share, hidden);
        self.states(token, w);
        w.weights("o", hidden, share);
        self.feed_forward(token, w, (8.0, 2.6));
    }

    /// A layer of Mamba-2, with its exchange's name.
    fn mamba2(&self, token: &Token, w: &mut Writer, first: &'static str) {
        let (hidden, share) = self.sizes(token);
        if !first.is_empty() {
            w.norm(first, hidden);
        }
        w.weights("qkv", (4.1 * share).floor(), hidden);
        w.activation(Category::Convolution, "causal_conv1d", (8.4 * hidden).floor());
        w.activation(Category::Discretization, "discretization", f64::from(self.states.0));
        self.states(token, w);
        w.norm("norm", 2.0 * hidden);
        w.activation(Category::Others, "act", 2.0 * share);
        w.weights("o", hidden, f64::from(2 * self.hidden / token.gpus));
        w.exchange(if first.is_empty() { "g2g" } else { "g2g_1" }, token.gpus, hidden);
    }

    fn zamba2(&self, token: &Token, w: &mut Writer) {
        let (hidden, share) = self.sizes(token);
        self.mamba2(token, w, "norm");
        w.layers = self.attention_layers;
        w.norm("norm", 2.0 * hidden);
        w.weights("qkv", 6.0 * share, 2.0 * hidden);
        self.attention(token, w);
        w.weights("proj", hidden, f64::from(2 * self.hidden / token.gpus));
        w.exchange("g2g_1", token.gpus, hidden);
        w.norm("norm", hidden);
        w.weights("ffn_1", 8.0 * share, hidden);
        w.activation(Category::Others, "act", 4.0 * share);
        w.weights("ffn_2", hidden, 4.0 * share);
        w.exchange("g2g_2", token.gpus, hidden);
    }
}
