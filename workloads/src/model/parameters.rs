//! How many parameters a model has, and how many a token uses.

use super::{Block, Branch, Embed, LinearRule, Mixer, Model, Norm, QkNorm, Stage};

/// Products of extents, summed.
fn wide(a: u64, b: u64) -> u128 {
    u128::from(a) * u128::from(b)
}

/// A matrix `[out, in]`, with a bias where it has one.
fn matrix(output: u64, input: u64, bias: bool) -> u128 {
    wide(output, input) + if bias { u128::from(output) } else { 0 }
}

fn norm(n: Option<Norm>, width: u64) -> u128 {
    n.map_or(0, |n| u128::from(n.parameters(width)))
}

impl Mixer {
    /// Trained parameters, in a model of a width; `active` counts those of the experts that one token uses.
    pub fn parameters(&self, width: u64, active: bool) -> u128 {
        match self {
            Self::Attention(a) => {
                let input = if a.input_width == 0 { width } else { a.input_width };
                let queries = a.heads.saturating_mul(a.head_dim);
                let (keys, values) = (a.kv_heads.saturating_mul(a.head_dim), a.kv_heads.saturating_mul(a.values()));
                let out = a.heads.saturating_mul(a.values());
                let mut sum = matrix(queries, input, a.qkv_bias) + matrix(width, out, a.out_bias);
                if !a.shares_cache {
                    sum += matrix(keys, input, a.qkv_bias);
                    if !a.values_are_keys {
                        sum += matrix(values, input, a.qkv_bias);
                    }
                }
                if a.output_gate {
                    sum += matrix(queries, input, a.qkv_bias);
                }
                if a.head_gate {
                    sum += wide(a.heads, input);
                }
                if a.sinks {
                    sum += u128::from(a.heads);
                }
                if let Some(QkNorm { norm: n, whole, per_head_gain }) = a.qk_norm {
                    let of = |heads: u64, dim: u64| {
                        u128::from(n.parameters(if whole || per_head_gain { heads.saturating_mul(dim) } else { dim }))
                    };
                    sum += of(a.heads, a.head_dim) + of(a.kv_heads, a.head_dim);
                }
                sum
            }
            Self::LatentAttention(l) => {
                let head = l.nope_dim.saturating_add(l.rope_dim);
                let queries = l.heads.saturating_mul(head);
                let mut sum = if l.query_rank > 0 {
                    matrix(l.query_rank, width, l.bias) + u128::from(l.query_rank) + wide(queries, l.query_rank)
                } else {
                    wide(queries, width)
                };
                sum += matrix(l.kv_rank.saturating_add(l.rope_dim), width, l.bias) + u128::from(l.kv_rank);
                sum += wide(l.heads.saturating_mul(l.nope_dim.saturating_add(l.value_dim)), l.kv_rank);
                sum += matrix(width, l.heads.saturating_mul(l.value_dim), l.bias);
                if let Some(i) = l.indexer.filter(|i| !i.shared) {
                    let queries_from = if l.query_rank > 0 { l.query_rank } else { width };
                    sum += wide(i.heads.saturating_mul(i.head_dim), queries_from)
                        + wide(i.head_dim, width)
                        + 2 * u128::from(i.head_dim)
                        + wide(i.heads, width);
                }
                sum
            }
            Self::FeedForward(f) => {
                let ups = if f.gated { 2 } else { 1 };
                ups * matrix(f.inner, width, f.bias) + matrix(width, f.inner, f.bias)
            }
            Self::Experts(e) => {
                let inner_width = if e.latent_width == 0 { width } else { e.latent_width };
                let ups = if e.gated { 2 } else { 1 };
                let one = ups * matrix(e.inner, inner_width, e.bias) + matrix(inner_width, e.inner, e.bias);
                let count = u128::from(if active { e.top_k } else { e.experts });
                let shared = if e.shared_inner > 0 {
                    (ups + 1) * wide(e.shared_inner, width) + if e.shared_gate { u128::from(width) } else { 0 }
                } else {
                    0
                };
                let latent = if e.latent_width > 0 { 2 * wide(width, e.latent_width) } else { 0 };
                let correction = if e.router == super::Router::SigmoidBiased { u128::from(e.experts) } else { 0 };
                matrix(e.experts, width, e.router_bias) + correction + one * count + shared + latent
            }
            Self::Mamba(m) => {
                let heads = m.heads.max(1);
                let per_head = m.inner / heads;
                let projected = m.dt_rank.saturating_add(m.state.saturating_mul(2));
                let norms = if m.inner_norms { u128::from(projected) } else { 0 };
                matrix(m.inner.saturating_mul(2), width, m.bias)
                    + wide(m.inner, m.conv_kernel)
                    + if m.conv_bias { u128::from(m.inner) } else { 0 }
                    + u128::from(heads) * wide(projected, per_head)
                    + u128::from(heads) * matrix(per_head, m.dt_rank, true)
                    + wide(m.inner, m.state)
                    + u128::from(m.inner)
                    + norms
                    + matrix(width, m.inner, m.bias)
            }
            Self::Mamba2(m) => {
                let channels = m.conv_channels();
                let projected = m.inner().saturating_add(channels).saturating_add(m.heads);
                matrix(projected, width, m.bias)
                    + wide(channels, m.conv_kernel)
                    + if m.conv_bias { u128::from(channels) } else { 0 }
                    + 3 * u128::from(m.heads)
                    + if m.gated_norm { u128::from(m.inner()) } else { 0 }
                    + matrix(width, m.inner(), m.bias)
            }
            Self::LinearAttention(l) => {
                let keys = l.key_heads.saturating_mul(l.key_dim);
                let values = l.value_heads.saturating_mul(l.value_dim);
                let mut sum = wide(keys, width) * 2 + wide(values, width) + wide(width, values);
                if l.output_gate {
                    sum += wide(values, width) + u128::from(l.value_dim);
                }
                let channels = keys.saturating_mul(2).saturating_add(values);
                sum += wide(channels, l.conv_kernel);
                let decay = match l.rule {
                    LinearRule::VectorGate | LinearRule::VectorGatedDelta => keys,
                    _ => l.value_heads,
                };
                let projected = |outputs: u64| match l.gate_rank {
                    0 => wide(outputs, width),
                    rank => wide(rank, width) + matrix(outputs, rank, true),
                };
                sum += match l.rule {
                    LinearRule::Plain | LinearRule::Retention => 0,
                    LinearRule::ScalarGate | LinearRule::VectorGate => projected(decay),
                    LinearRule::Delta => wide(l.value_heads, width),
                    LinearRule::GatedDelta => wide(l.value_heads, width) * 2 + 2 * u128::from(l.value_heads),
                    LinearRule::VectorGatedDelta => {
                        wide(l.value_heads, width) + projected(decay) + 2 * u128::from(decay)
                    }
                };
                sum
            }
            Self::Rwkv(r) => {
                let (d, w) = (r.inner, width);
                let time = match r.version {
                    // Receptance, key, value, output; decay and first-token bonus; three shifts.
                    4 => 3 * wide(d, w) + wide(w, d) + 2 * u128::from(d) + 3 * u128::from(w),
                    // A gate, decay and bonus a channel, a norm of heads, four shifts.
                    5 => 4 * wide(d, w) + wide(w, d) + 4 * u128::from(d) + 4 * u128::from(w),
                    // Five shifts that depend on the token through thin matrices, as does the decay.
                    6 => {
                        4 * wide(d, w)
                            + wide(w, d)
                            + 4 * u128::from(d)
                            + 6 * u128::from(w)
                            + 10 * wide(r.low_rank / 2, w)
                            + 2 * wide(r.low_rank, w)
                    }
                    // Three products, four thin pairs, six shifts, scales a channel.
                    _ => 3 * wide(d, w) + wide(w, d) + 8 * wide(r.low_rank, w) + 14 * u128::from(w),
                };
                let channel = match (r.channel_mix, r.version) {
                    (0, _) => 0,
                    (inner, 7..) => 2 * wide(inner, w) + u128::from(w),
                    (inner, _) => 2 * wide(inner, w) + wide(w, w) + 2 * u128::from(w),
                };
                time + channel
            }
            Self::Diagonal(d) => {
                let block = d.inner / d.blocks.max(1);
                2 * matrix(d.inner, width, d.bias)
                    + wide(d.inner, d.conv_kernel)
                    + u128::from(d.inner)
                    + 2 * (wide(d.inner, block) + u128::from(d.inner))
                    + u128::from(d.inner)
                    + matrix(width, d.inner, d.bias)
            }
            Self::ShortConvolution(s) => {
                matrix(s.inner.saturating_mul(3), width, s.bias)
                    + wide(s.inner, s.conv_kernel)
                    + if s.bias { u128::from(s.inner) } else { 0 }
                    + matrix(width, s.inner, s.bias)
            }
        }
    }
}

impl Stage {
    fn parameters(&self, width: u64, active: bool) -> u128 {
        let branch = |b: &Branch| {
            let input = match &b.mixer {
                Mixer::Attention(a) if a.input_width > 0 => a.input_width,
                _ => width,
            };
            norm(b.norm, input)
                + norm(b.out_norm, width)
                + u128::from(b.other_parameters)
                + b.mixer.parameters(width, active)
        };
        let input = self.branches.iter().find_map(|b| match &b.mixer {
            Mixer::Attention(a) if a.input_width > 0 => Some(a.input_width),
            _ => None,
        });
        norm(self.norm, input.unwrap_or(width))
            + norm(self.sum_norm, width)
            + norm(self.post_norm, width)
            + self.branches.iter().map(branch).sum::<u128>()
    }
}

impl Block {
    /// Trained parameters of a layer of this kind, in a model of a width.
    pub fn parameters(&self, width: u64, active: bool) -> u128 {
        self.stages.iter().map(|s| s.parameters(width, active)).sum()
    }
}

impl Embed {
    fn parameters(&self, width: u64) -> u128 {
        let own = if self.width == 0 { width } else { self.width };
        let projection = if own == width { 0 } else { wide(own, width) };
        let tokens = if self.shared { 0 } else { wide(self.vocab, own) };
        tokens
            + wide(self.position_rows, if self.narrow_positions { own } else { width })
            + wide(self.type_rows, own)
            + norm(self.norm, own)
            + projection
            + u128::from(self.other_parameters)
    }
}

/// Parameters of the layers of a pattern; blocks whose layers share weights count once, and for a token as often as they are passed.
fn of_layers<'a>(runs: impl Iterator<Item = (&'a Block, u32)>, width: u64, active: bool) -> u128 {
    let mut shared: Vec<&str> = Vec::new();
    let mut sum = 0u128;
    for (block, layers) in runs {
        let one = block.parameters(width, active);
        if !block.shared {
            sum += one * u128::from(layers);
        } else if !shared.contains(&block.name.as_str()) {
            shared.push(&block.name);
            sum += one;
        }
    }
    sum
}

impl Model {
    fn count(&self, active: bool) -> u128 {
        let own = if self.embed.width == 0 { self.width } else { self.embed.width };
        let mut sum = self.embed.parameters(self.width);
        sum += of_layers(self.runs(), self.width, active);
        sum += self.relative_tables();
        if let Some(e) = &self.encoder {
            let runs = e.pattern.iter().filter_map(|r| Some((e.blocks.iter().find(|b| b.name == r.block)?, r.layers)));
            sum += e.embed.parameters(e.width) + of_layers(runs, e.width, active) + norm(e.final_norm, e.width);
        }
        let head = &self.head;
        sum += norm(head.norm, self.width);
        if head.vocab > 0 {
            if head.transform {
                sum += matrix(own, self.width, true) + norm(head.norm.or(Some(Norm::LayerNorm)), own);
            }
            if !head.tied {
                sum += wide(head.vocab, own);
                // OPT-350m projects the hidden state back before the vocabulary.
            }
            if own != self.width && !head.transform {
                sum += wide(own, self.width);
            }
            sum += if head.bias { u128::from(head.vocab) } else { 0 };
        }
        sum
    }

    /// T5's tables of distances: one a stack.
    fn relative_tables(&self) -> u128 {
        let of = |blocks: &[Block]| {
            blocks.iter().flat_map(|b| &b.stages).flat_map(|s| &s.branches).find_map(|b| match &b.mixer {
                Mixer::Attention(a) if a.relative_buckets > 0 => Some(wide(a.relative_buckets, a.heads)),
                _ => None,
            })
        };
        of(&self.blocks).unwrap_or(0) + self.encoder.as_ref().and_then(|e| of(&e.blocks)).unwrap_or(0)
    }

    pub(super) fn parameters_wide(&self) -> u128 {
        self.count(false)
    }

    /// Trained parameters, a tied or shared table once. Saturates at `u64::MAX`, which no checked model reaches.
    pub fn parameters(&self) -> u64 {
        u64::try_from(self.count(false)).unwrap_or(u64::MAX)
    }

    /// Parameters that one token uses: of experts those that it is routed to.
    pub fn active_parameters(&self) -> u64 {
        u64::try_from(self.count(true)).unwrap_or(u64::MAX)
    }
}
