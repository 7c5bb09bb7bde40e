//! Which products a quantised checkpoint leaves as they were.

use banksia_input::InputError;

use super::reader::Reader;
use crate::model::{Mixer, Model, Reach};

/// Where lists of what is left out may be.
const KEYS: [&str; 3] = ["modules_to_not_convert", "ignore", "exclude_modules"];

/// The products of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Attention, or what stands in its place.
    Mixing,
    /// A feed-forward layer.
    Dense,
    /// Experts that every token passes.
    Shared,
    /// Routed experts.
    Experts,
}

const PARTS: [Part; 4] = [Part::Mixing, Part::Dense, Part::Shared, Part::Experts];

/// Which layers a name is of.
enum Which<'n> {
    /// All.
    All,
    /// Those whose number is, or begins with, some digits.
    Number(&'n str, bool),
}

impl Which<'_> {
    fn holds(&self, layer: usize) -> bool {
        match self {
            Self::All => true,
            Self::Number(digits, begins) => {
                let number = layer.to_string();
                if *begins { number.starts_with(digits) } else { number == *digits }
            }
        }
    }
}

/// What the format of weights reaches.
pub(super) fn reach(table: &Reader<'_>, model: &Model) -> Result<Reach, InputError> {
    let mut names: Vec<(&str, &str)> = Vec::new();
    for key in KEYS {
        names.extend(table.texts(key)?.unwrap_or_default().into_iter().map(|name| (key, name)));
    }
    // Of each layer, the parts that it has and those that are left out.
    let mut there: Vec<[bool; 4]> = Vec::new();
    for (block, layers) in model.runs() {
        let mut parts = [false; 4];
        for branch in block.stages.iter().flat_map(|stage| &stage.branches) {
            match &branch.mixer {
                Mixer::FeedForward(_) => parts[1] = true,
                Mixer::Experts(experts) => {
                    parts[2] |= experts.shared_inner > 0;
                    parts[3] = true;
                }
                _ => parts[0] = true,
            }
        }
        there.extend(std::iter::repeat_n(parts, layers as usize));
    }
    let mut left = vec![[false; 4]; there.len()];
    for (key, name) in &names {
        let Some((which, parts)) = read(name).map_err(|problem| table.error(key, problem))? else { continue };
        for (layer, left) in left.iter_mut().enumerate().filter(|(layer, _)| which.holds(*layer)) {
            for (at, part) in PARTS.iter().enumerate() {
                left[at] |= parts.contains(part) && there.get(layer).is_some_and(|there| there[at]);
            }
        }
    }
    // Of all layers that have a part: quantised in all, in none, or in some.
    let state = |part: usize| {
        let mut of = there.iter().zip(&left).filter(|(there, _)| there[part]).map(|(_, left)| !left[part]);
        of.next().map(|first| (first, of.all(|other| other == first)))
    };
    let key = names.first().map_or(KEYS[0], |(key, _)| *key);
    let mixed = |what: &str| {
        table
            .error(key, format!("leaves out {what} of some layers, and not of others: types would differ by layer"))
            .help("import the 16-bit checkpoint that it was made from, and set the types in the TOML")
    };
    let mut quantised = [None; 4];
    for (at, what) in ["attention", "the feed-forward layer", "shared experts", "experts"].into_iter().enumerate() {
        quantised[at] = match state(at) {
            Some((_, false)) => return Err(mixed(what)),
            Some((first, true)) => Some(first),
            None => None,
        };
    }
    let on = |at: usize| quantised[at].unwrap_or(true);
    let off = |at: usize| !quantised[at].unwrap_or(false);
    match () {
        () if on(0) && on(1) && on(2) && on(3) => Ok(Reach::Layers),
        () if on(1) && on(2) && on(3) => Ok(Reach::FeedForward),
        () if off(0) && off(1) && off(2) && quantised[3] == Some(true) => Ok(Reach::Experts),
        () => {
            let problem = "leaves out other products than those of attention, or all but those of experts";
            Err(table.error(key, problem).help("import the 16-bit checkpoint that it was made from"))
        }
    }
}

/// The layers and parts of a name, or pattern of names; `None` where it is of no product of a layer.
fn read(name: &str) -> Result<Option<(Which<'_>, Vec<Part>)>, String> {
    let name = name.strip_prefix("re:").unwrap_or(name);
    // Layers of towers, and those that predict further tokens, have numbers of their own.
    if ["mtp", "vision", "visual", "audio"].into_iter().any(|tower| name.contains(tower)) {
        return Ok(None);
    }
    let (which, rest) = match name.split_once("layers.").or_else(|| name.split_once("layers\\.")) {
        // What is beside the layers: tables, heads, towers.
        None if !name.starts_with('*') && !name.starts_with(".*") => return Ok(None),
        None => (Which::All, name.trim_start_matches(['*', '.'])),
        // Layers of towers, and those that predict further tokens, have numbers of their own.
        Some((before, _)) if ["mtp", "vision", "visual", "audio"].iter().any(|word| before.contains(word)) => {
            return Ok(None);
        }
        Some((_, rest)) => {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, rest) = rest.split_at(digits);
            let begins = rest.starts_with('*');
            let which = if number.is_empty() { Which::All } else { Which::Number(number, begins) };
            (which, rest)
        }
    };
    let rest = rest.trim_matches(['.', '*', '\\', '$', '^', '+', '?']);
    let has = |word: &str| rest.contains(word);
    let ends = |words: &[&str]| words.iter().any(|word| rest.ends_with(word));
    // Norms, biases, routers, indexers' small products, further-token layers, tables, towers.
    let small =
        ends(&["norm", "norm.bias", "norm.weight", "gate", "router", "bias", "rotary_emb", "indexers_proj", "conv1d"])
            || ["indexer", "router", "lm_head", "embed", "vision", "visual", "mtp", "eh_proj"].into_iter().any(has);
    if small {
        return Ok(None);
    }
    if rest.is_empty() {
        return Ok(Some((which, PARTS.to_vec())));
    }
    let last = rest.rsplit('.').next().unwrap_or(rest).trim_matches('*');
    let whole = [
        "attn",
        "self_attn",
        "attention",
        "self_attention",
        "linear_attn",
        "mixer",
        "mamba",
        "mlp",
        "ffn",
        "feed_forward",
        "shared_experts",
        "shared_expert",
        "experts",
        "block_sparse_moe",
        "moe",
        "shared_mlp",
    ];
    if !whole.contains(&last) {
        return Err(format!("leaves out `{name}`, a part of a layer that has no type of its own"));
    }
    let parts = match last {
        "shared_experts" | "shared_expert" | "shared_mlp" => vec![Part::Shared],
        "experts" => vec![Part::Experts],
        // Beside experts it is what every token passes.
        "mlp" | "ffn" | "feed_forward" => vec![Part::Dense, Part::Shared],
        "block_sparse_moe" | "moe" => vec![Part::Shared, Part::Experts],
        _ => vec![Part::Mixing],
    };
    Ok(Some((which, parts)))
}
