//! Encoders: BERT, RoBERTa and their kin, ALBERT.

use banksia_input::InputError;
use serde_json::json;

use super::build::{LAYER, all, block, runs};
use super::classic;
use super::family::Family;
use super::reader::Reader;
use crate::activation::ActivationKind;
use crate::model::{AttentionSpec, Block, Embed, HeadSpec, Model, Norm, Stage};

/// BERT.
pub(super) const BERT: Family = Family {
    model_types: &["bert"],
    architectures: &["BertForMaskedLM", "BertModel", "BertForPreTraining", "BertLMHeadModel"],
    read: bert,
    graph: "an encoder: norms after the residual, token types, a masked-language head",
    refuses: "relative positions, `add_cross_attention`",
};
/// RoBERTa.
pub(super) const ROBERTA: Family = Family {
    model_types: &["roberta", "xlm-roberta", "camembert"],
    architectures: &[
        "RobertaForMaskedLM",
        "RobertaModel",
        "XLMRobertaForMaskedLM",
        "XLMRobertaModel",
        "CamembertForMaskedLM",
        "CamembertModel",
    ],
    read: bert,
    graph: "BERT's, whose positions start at 2",
    refuses: "relative positions, `add_cross_attention`",
};
/// ALBERT.
pub(super) const ALBERT: Family = Family {
    model_types: &["albert"],
    architectures: &["AlbertForMaskedLM", "AlbertModel", "AlbertForPreTraining"],
    read: albert,
    graph: "BERT's with shared layers and a narrow embedding",
    refuses: "`inner_group_num` other than 1, relative positions",
};

/// What all of them have.
struct Encoder {
    width: u64,
    layers: u32,
    vocab: u64,
    positions: u64,
    types: u64,
    stages: Vec<Stage>,
    /// The masked-language head is there; otherwise what `pooler` says.
    head: bool,
    /// A product of the first token's state stands at the end.
    pooler: bool,
    /// Two classes are told apart by it.
    classes: bool,
}

fn encoder(reader: &Reader<'_>) -> Result<Encoder, InputError> {
    reader.only("position_embedding_type", &[json!("absolute")], "biases scores by learned vectors of distance")?;
    let width = reader.sized("width", &["hidden_size"], 768)?;
    let layers = reader.layers(&["num_hidden_layers"], 12)?;
    let heads = reader.sized("heads", &["num_attention_heads"], 12)?;
    let inner = reader.sized("inner", &["intermediate_size"], 3072)?;
    // A decoder's mask hides what follows.
    let causal = reader.flag("is_decoder", false)?;
    let attention = AttentionSpec { causal, ..classic::attention(heads, reader.head_dim(width, heads)?, true) };
    let ffn = classic::ffn(inner, reader.activation("hidden_act", ActivationKind::Gelu)?, true);
    let names = reader.texts("architectures")?.unwrap_or_default();
    let named = |end: &str| names.iter().any(|name| name.ends_with(end));
    let bare = named("Model") && !named("LMHeadModel");
    Ok(Encoder {
        width,
        layers,
        vocab: reader.sized("vocab", &["vocab_size"], 30522)?,
        positions: reader.positions("max_position_embeddings")?,
        types: reader.count("type_vocab_size")?.unwrap_or(2),
        stages: classic::post(Norm::LayerNorm, attention, ffn),
        head: !bare,
        pooler: bare || named("PreTraining"),
        classes: named("PreTraining"),
    })
}

impl Encoder {
    /// The head, which projects to the vocabulary through a product and a norm.
    fn head(&self, reader: &Reader<'_>) -> Result<HeadSpec, InputError> {
        let tied = reader.flag("tie_word_embeddings", true)?;
        let vocab = if self.head { self.vocab } else { 0 };
        Ok(HeadSpec { norm: None, tied, bias: self.head, transform: self.head, ..HeadSpec::of(Norm::LayerNorm, vocab) })
    }

    /// Parameters of products of one token a sequence.
    fn beside(&self) -> u64 {
        let pooler = if self.pooler { self.width * self.width + self.width } else { 0 };
        pooler + if self.classes { 2 * self.width + 2 } else { 0 }
    }
}

fn bert(reader: &Reader<'_>) -> Result<Model, InputError> {
    let e = encoder(reader)?;
    // The first two rows of RoBERTa's positions are of padding.
    let first = if reader.text("model_type")?.is_some_and(|name| name != "bert") { 2 } else { 0 };
    let embed = Embed {
        position_rows: e.positions,
        type_rows: e.types,
        norm: Some(Norm::LayerNorm),
        other_parameters: e.beside(),
        ..Embed::of(e.vocab)
    };
    let model = reader.model(e.width, e.positions.saturating_sub(first).max(1), embed, e.head(reader)?)?;
    Ok(Model { pattern: all(LAYER, e.layers), blocks: vec![block(LAYER, e.stages)], ..model })
}

fn albert(reader: &Reader<'_>) -> Result<Model, InputError> {
    let e = encoder(reader)?;
    reader.only("inner_group_num", &[json!(1)], "makes layers of several")?;
    for key in ["net_structure_type", "gap_size", "num_memory_blocks", "down_scale_factor"] {
        // Of a library that is no more: all published files have zeros.
        reader.only(key, &[json!(0), json!(1)], "changes the layers")?;
    }
    let groups = reader.size_or("groups", &["num_hidden_groups"], 1)?.min(u64::from(e.layers));
    let own = reader.size_or("embed_width", &["embedding_size"], 128)?;
    let embed = Embed {
        width: if own == e.width { 0 } else { own },
        position_rows: e.positions,
        narrow_positions: own != e.width,
        type_rows: e.types,
        norm: Some(Norm::LayerNorm),
        // The projection to the hidden state adds a bias, and is there even between equal widths.
        other_parameters: e.beside() + e.width + if own == e.width { own * own } else { 0 },
        ..Embed::of(e.vocab)
    };
    let names: Vec<String> = (0..groups).map(|group| format!("{LAYER}{group}")).collect();
    let of = |layer: u32| {
        let group = u64::from(layer) * groups / u64::from(e.layers);
        names.get(usize::try_from(group).unwrap_or(0)).map(String::as_str)
    };
    let pattern = runs((0..e.layers).filter_map(of));
    let blocks = names.iter().map(|name| Block { shared: true, ..block(name, e.stages.clone()) }).collect();
    Ok(Model { pattern, blocks, ..reader.model(e.width, e.positions, embed, e.head(reader)?)? })
}
