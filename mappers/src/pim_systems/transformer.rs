//! Layers of dense transformers as AttAcc's simulator splits them: heads and feed-forward over the GPUs, two all-reduces a layer.

use banksia_hw::roofline::node::Work;
use banksia_input::InputError;

use super::operators::{Kind, Operator};

/// A dense transformer by its sizes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DenseModel {
    /// Its name.
    pub name: &'static str,
    /// Layers.
    pub layers: u32,
    /// Hidden size.
    pub hidden: u32,
    /// Heads, of queries and of keys.
    pub heads: u32,
    /// Feed-forward size over the hidden size.
    pub feed_forward: f64,
    /// How the feed-forward is activated.
    pub activation: Activation,
}

/// An activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// GELU.
    Gelu,
    /// ReLU.
    Relu,
    /// A gated one, with a third matrix.
    Gated,
}

const fn model(name: &'static str, layers: u32, hidden: u32, heads: u32, feed_forward: f64) -> DenseModel {
    let activation = match name.as_bytes()[0] {
        b'L' => Activation::Gated,
        b'O' => Activation::Relu,
        _ => Activation::Gelu,
    };
    DenseModel { name, layers, hidden, heads, feed_forward, activation }
}

/// The models of AttAcc's simulator (scale-snu/attacc_simulator, commit c600051, src/config.py), which differ from their papers' here and there.
pub const MODELS: [DenseModel; 11] = [
    model("GPT-175B", 96, 12288, 96, 4.0),
    model("GPT-89B", 48, 12288, 96, 4.0),
    model("GPT-13B", 40, 5120, 40, 4.0),
    model("LLAMA-7B", 32, 4096, 32, 8.0 / 3.0),
    model("LLAMA-65B", 80, 8192, 64, 8.0 / 3.0),
    model("MT-76B", 60, 10240, 40, 4.0),
    model("MT-146B", 80, 12288, 80, 4.0),
    model("MT-310B", 96, 16384, 128, 4.0),
    model("MT-530B", 105, 20480, 128, 4.0),
    model("MT-1008B", 128, 25600, 160, 4.0),
    model("OPT-66B", 64, 9216, 72, 4.0),
];

/// The model of a name.
///
/// # Errors
/// There is no such model.
pub fn dense_model(name: &str) -> Result<DenseModel, InputError> {
    MODELS.iter().find(|m| m.name == name).copied().ok_or_else(|| {
        InputError::unknown_name("model", "model of AttAcc's simulator", name, MODELS.iter().map(|m| m.name))
    })
}

/// A step of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Sequences.
    pub sequences: u32,
    /// New tokens of each.
    pub new: u32,
    /// Tokens whose keys and values each sees.
    pub keys: u32,
    /// Bytes of a number.
    pub bytes: u32,
}

impl DenseModel {
    /// Numbers of a head.
    #[must_use]
    pub fn head_dim(&self) -> u32 {
        self.hidden / self.heads
    }

    /// Heads of one GPU, over all sequences.
    #[must_use]
    pub fn heads_of(&self, gpus: u32, sequences: u32) -> u64 {
        u64::from(self.heads / gpus) * u64::from(sequences)
    }

    /// A layer's operators on one of some GPUs; with `apart`, attention is computed elsewhere, and what it needs goes there. A prompt's attention stays, and
    /// its keys and values go.
    #[must_use]
    pub fn layer(&self, batch: &Batch, gpus: u32, apart: bool) -> Vec<Operator> {
        let bytes = f64::from(batch.bytes);
        let rows = f64::from(batch.sequences) * f64::from(batch.new);
        let hidden = f64::from(self.hidden);
        let share = f64::from(self.hidden / gpus);
        let wide = self.feed_forward * share;
        let heads = self.heads_of(gpus, batch.sequences) as f64;
        let (new, keys, head) = (f64::from(batch.new), f64::from(batch.keys), f64::from(self.head_dim()));
        let decode = batch.new == 1;
        let mut layer = vec![Operator::weights("qkv", (rows, 3.0 * share, hidden), bytes)];
        if apart {
            let parts = if decode { 3.0 } else { 2.0 };
            layer.push(Operator::moved("comm_x2g", Kind::Transfer, (rows, parts * share), 1.0, bytes));
        }
        layer.extend([
            Operator::products("score", (new, keys, head), heads, bytes),
            Operator::elements("softmax", Work::Softmax, (new, keys), heads, bytes),
            Operator::products("context", (new, head, keys), heads, bytes),
        ]);
        if apart && decode {
            layer.push(Operator::moved("comm_x2g", Kind::Transfer, (1.0, head), heads, bytes));
        }
        let exchange = Operator::moved("comm_g2g", Kind::Exchange, (rows, hidden), 1.0, bytes);
        layer.extend([
            Operator::weights("proj", (rows, hidden, share), bytes),
            exchange,
            Operator::elements("norm1", Work::Norm, (rows, hidden), 1.0, bytes),
            Operator::weights("ff1", (rows, wide, hidden), bytes),
        ]);
        let activate =
            |name, flops, gated| Operator::elements(name, Work::Activation { flops, gated }, (rows, wide), 1.0, bytes);
        let (act, down) = match self.activation {
            Activation::Gelu => (activate("gelu", 8.0, false), "ff2"),
            Activation::Relu => (activate("relu", 1.0, false), "ff2"),
            Activation::Gated => {
                layer.push(Operator::weights("ff2", (rows, wide, hidden), bytes));
                (activate("glu", 9.0, true), "ff3")
            }
        };
        layer.extend([
            act,
            Operator::weights(down, (rows, hidden, wide), bytes),
            exchange,
            Operator::elements("norm2", Work::Norm, (rows, hidden), 1.0, bytes),
        ]);
        layer
    }

    /// Bytes of weights, keys and values, and temporaries over the node.
    #[must_use]
    pub fn required_bytes(&self, batch: &Batch) -> f64 {
        let (layers, hidden, bytes) = (f64::from(self.layers), f64::from(self.hidden), f64::from(batch.bytes));
        let (keys, heads) = (f64::from(batch.keys), f64::from(self.heads));
        let matrices = if self.activation == Activation::Gated { 3.0 } else { 2.0 };
        let weights = layers * hidden * (4.0 * hidden + matrices * self.feed_forward * hidden) * bytes;
        let temporary = ((hidden + keys * heads) * bytes)
            .max(hidden * 2.0 * bytes)
            .max(keys * heads * 2.0 * bytes)
            .max((self.feed_forward * hidden + hidden) * bytes)
            + keys * heads;
        let cache = layers * 2.0 * keys * hidden * bytes;
        weights + (cache + temporary) * f64::from(batch.sequences)
    }
}
